"""The linear classifier is logistic regression, and the MLP scikit-learn's; both take images of one size."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from parity import assert_every_parameter_is_trained
from torch import Tensor

from neocog.errors import UsageError
from neocog.models import create_model
from neocog.models.perceptron import LinearClassifier, PerceptronConfig, Templates


def digits(count: int | None = None) -> tuple[Tensor, Tensor]:
    from sklearn.datasets import load_digits

    found = load_digits()
    return torch.tensor(found.images[:count, None]) / 16, torch.tensor(found.target[:count])


def linear() -> LinearClassifier:
    network = create_model("linear_mnist", image_size=8).double()
    assert isinstance(network, LinearClassifier)
    return network


def test_a_linear_classifier_has_a_template_a_class_and_nothing_else() -> None:
    network = create_model("linear_cifar10")
    assert {name: tuple(p.shape) for name, p in network.named_parameters()} == {
        "fc.weight": (10, 3, 32, 32),
        "fc.bias": (10,),
    }
    assert network.num_features == 3072, "32x32x3 image, stretched to 3072 x 1"


def test_templates_are_the_linear_layer_of_the_stretched_image() -> None:
    layer = Templates(7, 3, 5).double()
    stretched = torch.nn.Linear(75, 7).double()
    stretched.load_state_dict({"weight": layer.weight.detach().flatten(1), "bias": layer.bias.detach()})
    images = torch.randn(4, 3, 5, 5, dtype=torch.float64)
    torch.testing.assert_close(layer(images), stretched(images.flatten(1)))


def test_templates_are_drawn_as_linear_layers_are() -> None:
    torch.manual_seed(0)
    ours = Templates(100, 3, 32)
    torch.manual_seed(0)
    theirs = torch.nn.Linear(3072, 100)
    assert torch.equal(ours.weight.flatten(1), theirs.weight)
    assert torch.equal(ours.bias, theirs.bias)


def test_with_the_weights_of_scikit_learns_logistic_regression_its_probabilities_are_the_same() -> None:
    from sklearn.linear_model import LogisticRegression

    images, targets = digits()
    fitted = LogisticRegression(C=0.1, max_iter=200).fit(images.flatten(1).numpy(), targets.numpy())
    network = linear()
    network.fc.load_state_dict(
        {"weight": torch.tensor(fitted.coef_).view(10, 1, 8, 8), "bias": torch.tensor(fitted.intercept_)}
    )
    ours = network(images).softmax(1).detach().numpy()
    np.testing.assert_allclose(ours, fitted.predict_proba(images.flatten(1).numpy()), rtol=1e-9, atol=1e-12)


def test_trained_to_the_end_it_is_scikit_learns_optimum() -> None:
    from sklearn.linear_model import LogisticRegression

    images, targets = digits(500)
    penalty = 1.0
    fitted = LogisticRegression(C=1 / penalty, tol=1e-8, max_iter=1000).fit(images.flatten(1).numpy(), targets.numpy())
    network = linear()
    optimizer = torch.optim.LBFGS(
        network.parameters(), max_iter=500, tolerance_grad=1e-8, tolerance_change=1e-14, line_search_fn="strong_wolfe"
    )

    def closure() -> Tensor:
        optimizer.zero_grad()
        weight = network.get_parameter("fc.weight")
        loss = F.cross_entropy(network(images), targets, reduction="sum") + penalty / 2 * weight.square().sum()
        loss.backward()
        return loss

    optimizer.step(closure)
    weight = network.get_parameter("fc.weight").detach()
    np.testing.assert_allclose(weight.flatten(1), fitted.coef_, atol=1e-4 * np.abs(fitted.coef_).max())
    theirs = fitted.predict_proba(images.flatten(1).numpy())
    np.testing.assert_allclose(network(images).softmax(1).detach(), theirs, atol=1e-4)


def test_with_the_weights_of_scikit_learns_mlp_its_probabilities_are_the_same() -> None:
    from sklearn.neural_network import MLPClassifier

    images, targets = digits(300)
    fitted = MLPClassifier((20, 15), max_iter=1, random_state=0)
    with pytest.warns(UserWarning, match="Maximum iterations"):
        fitted.fit(images.flatten(1).numpy(), targets.numpy())
    network = create_model("mlp_mnist", image_size=8, hidden=(20, 15)).double()
    names = ("hidden.0", "hidden.1", "fc")
    with torch.no_grad():
        for name, weight, bias in zip(names, fitted.coefs_, fitted.intercepts_, strict=True):
            mine = network.get_parameter(f"{name}.weight")
            mine.copy_(torch.tensor(weight.T).view_as(mine))
            network.get_parameter(f"{name}.bias").copy_(torch.tensor(bias))
    ours = network(images).softmax(1).detach().numpy()
    np.testing.assert_allclose(ours, fitted.predict_proba(images.flatten(1).numpy()), rtol=1e-6)


@pytest.mark.parametrize("name", ["linear_mnist", "mlp_mnist"])
def test_64_scanned_digits_are_learned_without_an_error(name: str) -> None:
    images, targets = digits(64)
    torch.manual_seed(0)
    network = create_model(name, image_size=8).double()
    optimizer = torch.optim.Adam(network.parameters(), lr=0.01)
    for _ in range(100):
        optimizer.zero_grad()
        F.cross_entropy(network(images), targets).backward()
        optimizer.step()
    assert torch.equal(network(images).argmax(1), targets)


@pytest.mark.parametrize("name", ["linear_cifar10", "mlp_cifar10"])
def test_every_parameter_is_trained(name: str) -> None:
    torch.manual_seed(0)
    assert_every_parameter_is_trained(create_model(name), torch.randn(10, 3, 32, 32))


def test_a_classifier_without_classes_gives_pixels_and_can_get_some_again() -> None:
    network = create_model("linear_mnist", num_classes=0)
    images = torch.rand(2, 1, 28, 28)
    assert torch.equal(network(images), images.flatten(1))
    network.reset_classifier(3)
    assert network(images).shape == (2, 3)


def test_images_of_another_size_and_layers_without_units_are_refused() -> None:
    with pytest.raises(UsageError, match="takes images of 28x28, not 32x30"):
        create_model("mlp_mnist")(torch.zeros(1, 1, 32, 30))
    with pytest.raises(UsageError, match="at least 1 unit each"):
        PerceptronConfig(hidden=(10, 0))
    with pytest.raises(UsageError, match="image_size is at least 1, not 0"):
        PerceptronConfig(image_size=0)
