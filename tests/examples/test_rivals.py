"""What examples 19 to 22 are made of: who sees what, and that each learns what it is to learn."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

import tinygpt as tg
from tinygpt.data import step_generator

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


def example(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", ["GPT", "LSTM", "GRU", "CNN"])
def test_the_rivals_see_no_later_character_and_are_of_one_size(name: str) -> None:
    tg.manual_seed(0)
    model = example("19_rivals").networks(65)[name][1]()
    ids = np.random.default_rng(0).integers(65, size=(1, 24))
    other = ids.copy()
    other[0, 16] = (ids[0, 16] + 1) % 65
    with tg.no_grad():
        change = np.abs(model(ids).data - model(other).data).max(axis=(0, 2))
    assert change[:16].max() < 1e-5 < change[16:].max()
    assert model.n_parameters == pytest.approx(210_000, rel=0.03)


def test_the_convolution_sees_127_characters() -> None:
    tg.manual_seed(0)
    model = example("19_rivals").ConvLM(11, n_embd=8)
    ids = np.random.default_rng(0).integers(11, size=(1, 160))
    changes = []
    for back in (126, 127):
        other = ids.copy()
        other[0, -1 - back] = (ids[0, -1 - back] + 1) % 11
        with tg.no_grad():
            changes.append(np.abs(model(ids).data - model(other).data)[0, -1].max())
    assert changes[0] > 0 == changes[1]


def test_skip_gram_learns_that_words_have_the_same_company() -> None:
    """Of six words, 0 and 1 stand beside 2, and 3 and 4 beside 5: like words have like vectors."""
    words = example("20_word_vectors")
    rng = np.random.default_rng(0)
    words.WINDOW, words.DRAWN, words.BATCH, words.OFTEN = 1, 2, 64, 1.0
    first = rng.random(400) < 0.5
    ids = np.where(first, rng.integers(0, 2, 400), rng.integers(3, 5, 400))
    ids = np.stack([ids, np.where(first, 2, 5)], axis=1).reshape(-1)
    counts = np.bincount(ids)
    near, others = words.pairs(ids, counts, step_generator(0, 0))
    assert near.shape == (64,) and others.shape == (64, 3) and set(others.reshape(-1)) <= set(range(6))
    tg.manual_seed(0)
    model, meets = words.SkipGram(6), np.eye(1, 3)
    optimizer = words.AdamW(model, lr=0.02, weight_decay=0.0)
    for step in range(150):
        odds = model(*words.pairs(ids, counts, step_generator(0, step)))
        words.ops.mean(words.ops.logaddexp(0.0, odds * (1 - 2 * meets))).backward()
        optimizer.step()
        optimizer.zero_grad()
    alike = words.cosines(model.itself.weight.data)
    assert alike[0].argsort()[-2] == 1 and alike[3].argsort()[-2] == 4
    assert words.in_groups(alike, [[0, 1], [3, 4]]) == pytest.approx(4 / 6)  # neither nearer than the other nor itself


def test_the_vision_transformer_cuts_pictures_into_patches_and_knows_their_places() -> None:
    tg.manual_seed(0)
    example_21 = example("21_vision_transformer")
    model = example_21.VisionTransformer(8, 10)
    picture = np.zeros((1, 8, 8), dtype=np.float32)
    picture[0, 2:4, 4:6] = [[1, 2], [3, 4]]  # the patch in the second row and third column
    seen: list[np.ndarray] = []
    patch = model.patch.forward
    model.patch.forward = lambda x: seen.append(x.data.copy()) or patch(x)  # type: ignore[func-returns-value]
    with tg.no_grad():
        scores = model(picture).data
        moved = model(np.roll(picture, 2, axis=2)).data
    assert seen[0].shape == (1, 16, 4) and seen[0][0, 6].tolist() == [1, 2, 3, 4]
    assert np.abs(seen[0]).sum() == 10 and np.abs(scores - moved).max() > 1e-3


def test_the_generator_comes_to_where_real_points_are_and_the_critic_judges_pairs() -> None:
    gan = example("22_gan")
    tg.manual_seed(0)
    game = gan.Game(2, n_told=0, n_noise=2, width=32, lr=5e-3)
    assert game.critic.layers[0].weight.shape == (32, 2 * gan.TOGETHER)
    told = np.zeros((200, 0), dtype=np.float32)
    doubts = [float(game.doubts(np.ones((200, 2), dtype=np.float32), told, real)) for real in (True, False)]
    assert np.exp(-doubts[0]) + np.exp(-doubts[1]) == pytest.approx(1)  # p and 1 − p
    real = np.random.default_rng(0).normal([2, 1], 0.1, (200, 2)).astype(np.float32)
    far = []
    for step in game.play(real, told, 200, seed=0):
        far.append(float(np.linalg.norm(game.best(told) - [2, 1], axis=1).mean()) if step in (0, 200) else 0)
    assert step == 200 and far[200] < far[0] / 3
