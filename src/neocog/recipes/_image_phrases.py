"""The phrases of `_words` for images: what each goes through before the network sees it, and how they are blended."""

from __future__ import annotations

from neocog.recipes._fields import Fields, listed, percent, plain, quotient, share_range

POLICIES = {"trivialaugment": "TrivialAugment", "autoaugment": "AutoAugment, as found for ImageNet"}


def images(r: Fields) -> str:
    """Return what an image goes through before the network sees it."""
    side = r["image_size"]
    size = "of the network's size" if side is None else f"of {side} x {side} pixels"
    said = [f"{size}, when measured" if "image_size" in r.vary else size, crop(r), affine(r)]
    if r.ever("augment.flip"):
        share, alternate = r["augment.flip"], r["augment.alternate"]
        half, often = "every other epoch" if alternate else "half the time", f"with probability {plain(share)}"
        often += ", by a draw that odd epochs move by half" if alternate else ""
        said.append(f"mirrored {half if share == 0.5 else often}")
    if r.ever("augment.policy"):
        policy = r["augment.policy"]
        if policy == "randaugment" or "augment.policy" in r.vary:
            operations, strength = r["augment.policy_ops"], plain(r["augment.policy_magnitude"])
            said.append(f"RandAugment with {operations} operations of strength {strength} of 30")
        if policy in POLICIES:
            said.append(POLICIES[policy])
    names = [name for name in ("brightness", "contrast", "saturation") if r.ever(f"augment.{name}")]
    if names:
        amounts = [f"{name} by up to {percent(r[f'augment.{name}'])}" for name in names]
        said.append(f"{listed(amounts)} changed either way")
    if r.ever("augment.hue"):
        said.append(f"hues turned by up to {percent(r['augment.hue'])} of their circle either way")
    if r.ever("augment.lighting"):
        said.append(f"shifted along ImageNet's principal colours with deviation {plain(r['augment.lighting'])}")
    if r.ever("augment.erase"):
        least, most = r["augment.erase_area"]
        fill = {"noise": "noise", "mean": "the mean colour"}[r["augment.erase_fill"]]
        said.append(
            f"a box of {share_range(least, most)} of the area painted over with {fill}, "
            f"with probability {plain(r['augment.erase'])}"
        )
    return "; ".join(part for part in said if part)


def crop(r: Fields) -> str:
    """Return what is cut from an image."""
    said, kinds = [], {r["augment.crop"], *(kind for _, kind in r.vary.get("augment.crop", ()))}
    if "random_resized" in kinds:
        area, (narrow, wide) = r["augment.scale"], r["augment.ratio"]
        shape = f"{quotient(narrow)} to {quotient(wide)} as wide as high"
        said.append(f"a random box of {share_range(*area)} of the area, {shape}")
    if "pad" in kinds:
        entering = {"black": "black", "reflect": "its reflection"}[r["augment.border"]]
        said.append(f"shifted by up to {r['augment.pad']} pixels each way, {entering} coming in")
    if "scale" in kinds:
        least, most = r["augment.sides"]
        side = str(least) if least == most else f"{least} to {most}"
        said.append(f"a crop at a random place, the shorter side having {side} pixels for 224 of the crop")
    if "none" in kinds:
        said.append("whole, as they are measured")
    return " or ".join(said)


def affine(r: Fields) -> str:
    """Return how an image is distorted."""
    amounts = {
        "rotate": "turned by up to {} degrees",
        "translate": "moved by up to {} of the side",
        "scale": "scaled by up to 1 + {}",
        "squeeze": "squeezed by up to 1 + {}",
        "shear": "sheared by up to {}",
    }
    said = [text.format(plain(r[f"augment.affine.{name}"])) for name, text in amounts.items()
            if r.ever(f"augment.affine.{name}")]  # fmt: skip
    return listed(said)


def mixing(r: Fields) -> str:
    """Return how the images of a batch are blended."""
    mixup, cutmix = r.ever("mix.mixup"), r.ever("mix.cutmix")
    if not (mixup or cutmix) or not r.ever("mix.probability"):
        return ""
    ways = [f"MixUp with alpha {plain(r['mix.mixup'])}"] if mixup else []
    ways += [f"CutMix with alpha {plain(r['mix.cutmix'])}"] if cutmix else []
    said = f"in pairs by {listed(ways, ' or ')}"
    if mixup and cutmix:
        said += f", CutMix with probability {plain(r['mix.switch'])}"
    share = r["mix.probability"]
    return said if share == 1 else f"{said}; a batch is blended with probability {plain(share)}"
