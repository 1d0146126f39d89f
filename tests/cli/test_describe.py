"""`neocog describe` on networks of the catalog, model files, and networks of a user's own."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest

from neocog.cli import main
from neocog.data.preprocess import Preprocessing
from neocog.inference.model_file import Card, save_model
from neocog.models import create_model

USERS = """
from torch import nn

class Net(nn.Module):
    def __init__(self, classes=3):
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, padding=1, bias=False)
        self.fc = nn.Linear(8, classes)

    def forward(self, x):
        return self.fc(self.conv(x).relu().mean((2, 3)))

class Two(nn.Module):
    def forward(self, x, y):
        return x + y

class Looks(Net):
    def forward(self, x):
        return super().forward(x) if x.sum() > -1 else x

def broken():
    raise RuntimeError("no such luck")

number = 3
net = Net()
"""


@pytest.fixture
def users(tmp_path, monkeypatch) -> str:
    (tmp_path / "users_networks.py").write_text(USERS)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    return "users_networks"


def described(capsys, *arguments: str) -> dict:
    assert main(["describe", *arguments, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_totals_are_those_that_torchvision_publishes(capsys):
    found = described(capsys, "resnet50")
    assert found["parameters"] == 25_557_032
    assert round(found["macs"] / 1e9, 3) == 4.089
    assert found["not_counted"] == {}


def test_rows_add_up_to_the_totals_at_every_level(capsys):
    for level in ("layer", "block", "stage"):
        found = described(capsys, "mobilenetv2_100", "--level", level, "--training")
        for key in ("macs", "flops", "backward_macs"):
            assert sum(row[key] for row in found["rows"]) == found[key]
        assert sum(row["parameters"] for row in found["rows"]) == found["parameters"] == 3_504_872
        assert sum(row["kept_bytes"] for row in found["rows"]) == found["kept_bytes"]


def test_stages_of_resnet_are_the_paper_s(capsys):
    rows = described(capsys, "resnet34", "--level", "stage")["rows"]
    assert [row["output"][1:] for row in rows[:5]] == [
        [64, 112, 112], [64, 56, 56], [128, 28, 28], [256, 14, 14], [512, 7, 7],
    ]  # fmt: skip
    assert [row["name"] for row in rows[2:5]] == ["layer2", "layer3", "layer4"]


def test_batch_and_size_scale_the_products(capsys):
    one = described(capsys, "resnet18")
    many = described(capsys, "resnet18", "--batch", "4")
    large = described(capsys, "resnet18", "--image-size", "448")
    assert many["macs"] == 4 * one["macs"]
    assert many["parameters"] == one["parameters"]
    head = 512_000
    assert large["macs"] - head == 4 * (one["macs"] - head)


def test_half_precision_halves_the_bytes(capsys):
    full, half = described(capsys, "resnet18"), described(capsys, "resnet18", "--dtype", "bf16")
    assert half["activation_bytes"] * 2 == full["activation_bytes"]
    assert half["macs"] == full["macs"]


def test_csv_holds_exact_numbers(capsys):
    assert main(["describe", "lenet5", "--csv"]) == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert sum(int(row["parameters"]) for row in rows) == 61_706
    assert rows[0]["output"].startswith("1x6x")


def test_table_says_what_a_mac_is_and_where_figures_come_from(capsys):
    assert main(["describe", "resnet18", "--level", "block"]) == 0
    text = capsys.readouterr().out
    assert "1,814,073,344 multiply-adds" in text
    assert "two a MAC" in text
    assert "Deep residual learning" in text
    assert "every operation has a rule" in text


def test_a_model_file_is_described_with_its_own_head(tmp_path, capsys):
    network = create_model("lenet5", num_classes=4)
    card = Card(
        model="lenet5", num_classes=4, in_chans=1, classes=tuple("abcd"), data="none",
        preprocessing=Preprocessing(size=(32, 32), mean=(0.5,), std=(0.5,), channels=1),
    )  # fmt: skip
    path = tmp_path / "model.safetensors"
    save_model(path, network, card)
    found = described(capsys, str(path))
    assert found["parameters"] == sum(parameter.numel() for parameter in network.parameters())
    assert found["rows"][-1]["output"] == [1, 4]


def test_a_user_s_network_is_counted_functional_calls_included(users, capsys):
    found = described(capsys, f"{users}:Net", "--input", "3,64,64")
    assert found["macs"] == 64 * 64 * 8 * 27 + 8 * 3
    assert [row["name"] for row in found["rows"]] == ["conv", "(relu, mean)", "fc"]
    assert described(capsys, f"{users}:net", "--input", "3,64,64")["macs"] == found["macs"]


def test_a_network_that_looks_at_its_numbers_is_run_for_real(users, capsys):
    found = described(capsys, f"{users}:Looks", "--input", "3,16,16")
    assert found["macs"] == 16 * 16 * 8 * 27 + 8 * 3
    assert found["run_on"] == "cpu"
    assert "users_networks.py, line" in found["note"]


def test_torchvision_s_networks_are_users_networks(capsys):
    found = described(capsys, "torchvision.models:vgg16")
    assert found["parameters"] == 138_357_544
    assert found["macs"] == 15_470_264_320


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["resnet81"], ["resnet18", "module:callable"]),
        (["users_networks:Nett"], ["Nett", "Net"]),
        (["users_networks:number"], ["int", "returns a torch.nn.Module"]),
        (["users_networks:broken"], ["RuntimeError", "no such luck"]),
        (["users_networks:Two"], ["Two", "other arguments"]),
        (["nowhere_at_all:Net"], ["no module 'nowhere_at_all'"]),
        (["users_networks:Net", "--input", "3,64"], ["Net", "3x64"]),
        (["users_networks:Net", "--input", "huge"], ["--input", "3,224,224"]),
        (["users_networks:Net", "--input", "4,64,64"], ["conv (Conv2d)", "1x4x64x64"]),
        (["resnet18", "--level", "atom"], ["--level"]),
        (["missing.safetensors"], ["missing.safetensors"]),
        (["torchvision.models:alexnet", "--image-size", "30"], ["features."]),
    ],
)
def test_bad_input_gets_one_clear_line(users, capsys, arguments, words):
    assert main(["describe", *arguments]) != 0
    captured = capsys.readouterr()
    assert captured.out == ""
    assert len(captured.err.strip().splitlines()) == 1
    assert "Traceback" not in captured.err
    for word in words:
        assert word in captured.err


def test_describing_leaves_no_file_behind(users, capsys):
    described(capsys, f"{users}:Net")
    assert {path.name for path in Path.cwd().iterdir()} <= {"users_networks.py", "__pycache__"}
