"""Tests of long trainings of translation models: what they leave and refuse."""

import dataclasses
import json
import math
import shutil

import numpy as np
import pytest

from nas_keras.distribute.replicas import OneReplica
from nas_keras.storage import checkpoints
from nas_keras.tasks import Translator
from nas_keras.tasks import train_translation
from nas_keras.tasks.training.files import Folder
from nas_keras.tasks.translation import scores as translation_scores
from nas_keras.tasks.translation import task as translation_task
from nas_keras.tasks.translation import training as translation
from nas_keras.tasks.translation.scores import scores_of
from nas_keras.tasks.translation.task import TranslationTask
from tests.interruption import Stop
from tests.interruption import snapshot
from tests.interruption import stop_at
from tests.raising import raises
from tests.translation_testing import phrases
from tests.translation_testing import translation_config


def _train(config, workdir, **options):
    return list(train_translation(config, phrases(), workdir, **options))


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    # Its model is traced five times: about 20 s.
    workdir = tmp_path_factory.mktemp("finished") / "whole"
    config = translation_config(
        {"output_dropout": 0.1}, average_epochs=2, warmup_updates=3
    )
    return config, workdir, _train(config, workdir)


def test_an_interrupted_training_is_as_if_it_had_not_been(finished, tmp_path):
    config, whole, epochs = finished
    with pytest.raises(Stop):  # After a snapshot, in mid-epoch.
        _train(config, tmp_path, on_update=stop_at(4))
    again = _train(config, tmp_path)
    # Equal but for the last digits: TensorFlow adds up the gradients of a loop
    # in an order that, now and then, is another.
    for one, other in zip(epochs, again, strict=True):
        for field in dataclasses.fields(one):
            if field.name != "elapsed_s":
                assert getattr(other, field.name) == pytest.approx(
                    getattr(one, field.name), rel=1e-5
                )
    (step, _, arrays), (other_step, _, others) = (
        snapshot(whole),
        snapshot(tmp_path),
    )
    assert step == other_step
    for name, array in arrays.items():
        np.testing.assert_allclose(others[name], array, 1e-4, 1e-5, name)
    for name in ("test.beam.de", "validation.greedy.de"):
        assert (whole / name).read_text() == (tmp_path / name).read_text()


def test_a_finished_training_says_what_it_came_to(finished):
    config, workdir, epochs = finished
    result = json.loads((workdir / "result.json").read_text())
    assert [epoch.epoch for epoch in epochs] == [1, 2, 3]
    assert result["training_pairs"] == 48
    assert result["signatures"]["bleu"].startswith("nrefs:1|case:mixed")
    texts = (workdir / "test.beam.de").read_text().split("\n")[:-1]
    references = [target for _, target in phrases().test]
    scores = scores_of(texts, references, "de")
    assert result["metrics"]["test_beam_bleu"] == scores.bleu
    assert result["metrics"]["test_beam_chrf"] == scores.chrf
    assert result["metrics"]["test_perplexity"] == pytest.approx(
        math.exp(result["metrics"]["test_loss_nats"])
    )
    assert epochs[-1].train_loss_nats < epochs[0].train_loss_nats
    assert _train(config, workdir) == epochs  # And no update.


def test_the_folder_of_a_model_translates_alike(finished, tmp_path):
    config, workdir, _ = finished
    translator = Translator.load(workdir / "model")
    for name in ("beam", "length_penalty", "coverage_penalty"):
        assert getattr(translator, name) == getattr(config.training, name)
    sources = [source for source, _ in phrases().test]
    for name, options in (("greedy", {"beam": 1}), ("beam", {})):
        found = translator.translate(sources, **options)
        texts = (workdir / f"test.{name}.de").read_text().split("\n")[:-1]
        assert [translation.text for translation in found] == texts
    backwards = translator.translate(sources[::-1], beam=1)
    assert [t.text for t in backwards[::-1]] == [
        t.text for t in translator.translate(sources, beam=1)
    ]
    assert (translator.source_language, translator.target_language) == (
        "en",
        "de",
    )
    alignment = translator.align(sources[0], "rot zwei")
    assert alignment.target[-1] == alignment.source[-1] == "</s>"
    assert alignment.weights.shape == (
        len(alignment.target),
        len(alignment.source),
    )
    np.testing.assert_allclose(alignment.weights.sum(axis=1), 1, rtol=1e-5)
    for options, message in (
        ({"beam": 0}, "beam must be an int of at least 1. Received: beam=0"),
        ({"beam": True}, "beam must be an int"),
        ({"length_penalty": -1.0}, "length_penalty must be finite and not"),
        ({"coverage_penalty": math.inf}, "coverage_penalty must be finite"),
    ):
        with pytest.raises(ValueError, match=message):
            translator.translate(sources, **options)
    with pytest.raises(ValueError, match="an empty line 2 of 3"):
        translator.translate(["one", " ", "two"])
    with pytest.raises(ValueError, match=r"must be a line to translate"):
        translator.translate([])
    assert translator.align("one", "").target == ["</s>"]


def test_the_weights_are_those_of_the_best_epoch_or_a_mean(
    finished, tmp_path, monkeypatch
):
    config, workdir, epochs = finished
    shutil.copytree(workdir, tmp_path, dirs_exist_ok=True)
    task = TranslationTask.of(config.training, phrases())
    training = translation._Training(
        task,
        task.training.model,
        translation.load_spec(config.cell),
        config.seed,
        tmp_path,
        {},
        lambda update: None,
        OneReplica(),
    )
    assert training._go_to_newest()
    last = training._steps.weights()
    kept = [
        [array for _, array in sorted(arrays.items())]
        for epoch in epochs[-2:]
        if (arrays := checkpoints.load(tmp_path / "epochs", epoch.updates))
    ]
    best = max(
        epochs, key=lambda e: (e.validation_bleu, -e.validation_loss_nats)
    )
    for mean_bleu, chosen in (
        (best.validation_bleu - 1.0, f"epoch {best.epoch}"),
        (best.validation_bleu, "mean of the last 2 epochs"),
    ):
        monkeypatch.setattr(
            training, "_validation_bleu", lambda bleu=mean_bleu: bleu
        )
        assert training._choose_weights() == chosen
        want = Folder(tmp_path).best_arrays()
        if chosen.startswith("mean"):
            want = [(a + b) / 2 for a, b in zip(*kept, strict=True)]
        for got, array in zip(training._steps.weights(), want, strict=True):
            np.testing.assert_allclose(got, array, atol=1e-6)
    for weight, array in zip(last, kept[1], strict=True):
        np.testing.assert_array_equal(weight, array)
    newest = max((tmp_path / "epochs").glob("step_*"))
    newest.write_bytes(b"")
    with pytest.raises(ValueError, match="weights of epoch 3 are damaged"):
        training._choose_weights()
    training.place.history = [
        {"epoch": k, "validation_bleu": 0.0, "validation_loss_nats": loss_nats}
        for k, loss_nats in enumerate((3.0, 2.0, 2.5), 1)
    ]
    assert training.best_epoch()["epoch"] == 2


def test_long_pairs_are_left_out_and_counted(monkeypatch):
    said = []
    monkeypatch.setattr(
        translation_task.logging,
        "warning",
        lambda text, *values: said.append(text % values),
    )
    corpus = phrases()
    task = TranslationTask.of(translation_config().training, corpus)
    pairs = task.encoded(corpus.train)
    lengths = [
        max(map(len, (task.source_subwords.encode([a])[0],
                      task.target_subwords.encode([b])[0])))
        for a, b in corpus.train
    ]  # fmt: skip
    longest = int(np.median(lengths))
    kept = pairs.up_to(longest, corpus.name)
    assert len(kept) == sum(length <= longest for length in lengths)
    assert said == [
        f"phrases: left out {48 - len(kept)} of the 48 training pairs: longer "
        f"than max_length={longest} subwords."
    ]
    assert len(pairs) == 48
    said.clear()
    config = translation_config(max_length=longest, batch_tokens=200)
    task = TranslationTask.of(config.training, corpus)
    parts = {}
    for name, of_part in (
        ("validation", corpus.validation),
        ("test", corpus.test),
    ):
        parts[name] = np.array(task.encoded(of_part).lengths) - 1
    assert said[1:] == [
        f"phrases: {(of_part > longest).sum()} of the {len(of_part)} {name} "
        f"pairs are longer than max_length={longest} subwords; they are scored "
        "like the others."
        for name, of_part in parts.items()
    ]
    with pytest.raises(ValueError, match="max_length must leave a pair"):
        pairs.up_to(0, corpus.name)


def test_a_vocabulary_that_the_pairs_do_not_have_is_refused(tmp_path):
    config = translation_config(vocabulary_size=4_000)
    with pytest.raises(ValueError, match="vocabulary_size must be at most"):
        _train(config, tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"dataset": "multi30k"}, "dataset must be one of"),
        ({"num_updates": 5}, "One of num_updates and num_epochs must be"),
        ({"batch_tokens": 0}, "One of batch_tokens and batch_sentences must"),
        ({"batch_tokens": 30}, "batch_tokens must hold one sentence, of"),
        ({"subword_kind": "word"}, "subword_kind must be one of"),
        ({"optimizer": "lion"}, "optimizer must be one of .*=lion"),
        ({"schedule": "linear"}, "schedule must be one of"),
        ({"loss_mean": "batch"}, "loss_mean must be one of"),
        ({"learning_rate": 0.0}, "learning_rate must be positive and finite"),
        ({"clip_norm": math.inf}, "clip_norm must be positive and finite"),
        ({"label_smoothing": 1.0}, r"label_smoothing must be in \[0, 1\)"),
        (
            {"schedule": "halving", "decay_from": 1.0},
            r"decay_from must be in \[0, 1\)",
        ),
        ({"beam": 0}, "beam must be an int of at least 1"),
        ({"length_penalty": -0.1}, "length_penalty must be finite and not"),
        ({"average_epochs": 0}, "average_epochs must be an int of at least 1"),
    ],
)
def test_a_training_is_checked(changes, message):
    with pytest.raises(ValueError, match=message):
        translation_config(**changes)


def test_parameters_decide_the_units():
    spec = translation.load_spec("nascell")
    config = translation_config(parameters=5_000)
    model = config.training.sized(spec, 40, 40)
    assert model.num_parameters(spec, 40, 40) <= 5_000
    larger = dataclasses.replace(model, units=model.units + 1)
    assert larger.num_parameters(spec, 40, 40) > 5_000
    with pytest.raises(ValueError, match="A model of one unit of cell"):
        translation_config(parameters=20).training.sized(spec, 40, 40)


def test_scores_are_those_of_sacrebleu():
    sacrebleu = pytest.importorskip("sacrebleu")
    texts = ["Der Hund läuft.", "Eine Katze schläft gern hier ."]
    references = ["Ein Hund läuft.", "Eine Katze schläft gern hier."]
    scores = scores_of(texts, references, "de")
    assert scores.bleu == sacrebleu.corpus_bleu(texts, [references]).score
    assert scores.chrf == sacrebleu.corpus_chrf(texts, [references]).score
    assert "tok:13a" in scores.bleu_signature
    assert "tok:char" in scores_of(["猫"], ["猫"], "zh").bleu_signature or (
        "tok:zh" in scores_of(["猫"], ["猫"], "zh").bleu_signature
    )
    with pytest.raises(ValueError, match="must be as many.* 1 and 2"):
        scores_of(texts[:1], references)


def test_the_language_decides_the_tokeniser_if_it_is_there(monkeypatch):
    text = ["\u732b"]
    for language in ("zh", "zh_Hant", "zh-CN"):
        assert "tok:zh" in scores_of(text, text, language).bleu_signature

    class NoTokeniser:
        def BLEU(self, trg_lang):  # noqa: N802
            raise RuntimeError(f"tokenization of {trg_lang}\nneeds more")

    monkeypatch.setattr(translation_scores, "_metrics", NoTokeniser)
    corpus = dataclasses.replace(phrases(), target_language="ja")
    with raises("BLEU of 'ja': tokenization of ja needs more", ImportError):
        TranslationTask.of(translation_config().training, corpus)


@pytest.mark.parametrize("text", ["[]", "{}", '{"sha256": 3}'])
def test_a_damaged_description_of_a_model_is_named(text, tmp_path):
    for name in ("model.keras", "source.subwords", "target.subwords"):
        (tmp_path / name).write_bytes(b"")
    (tmp_path / "config.json").write_text(text)
    with raises("config.json: damaged, or not of a translator"):
        Translator.load(tmp_path)


@pytest.mark.parametrize("name", ["model.keras", "source.subwords"])
@pytest.mark.parametrize("damage", ["missing", "cut", "a bit"])
def test_a_damaged_folder_is_named(name, damage, finished, tmp_path):
    _, workdir, _ = finished
    for path in (workdir / "model").iterdir():
        data = bytearray(path.read_bytes())
        if path.name == name:
            if damage == "missing":
                continue
            if damage == "cut":
                data = data[:-50]
            else:
                data[len(data) // 2] ^= 1
        (tmp_path / path.name).write_bytes(data)
    with pytest.raises(ValueError, match=name):
        Translator.load(tmp_path)
