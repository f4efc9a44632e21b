"""Tests of texts from files and folders, and of the embedded text."""

import gzip

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nas_keras.data import sources
from tests.raising import raises

_PARTS = ("train", "validation", "test")


class TestReadTextFile:
    @given(st.text(st.characters(codec="utf-8", exclude_characters="\0")))
    def test_text_is_returned_as_it_is(self, tmp_path_factory, source):
        path = tmp_path_factory.getbasetemp() / "any.txt"
        source = "x\r\n" + source
        path.write_bytes(source.encode("utf-8"))
        assert sources.read_text_file(path) == source

    def test_a_byte_order_mark_is_no_text(self, tmp_path):
        path = tmp_path / "bom.txt"
        path.write_bytes(b"\xef\xbb\xbfabc")
        assert sources.read_text_file(str(path)) == "abc"

    @pytest.mark.parametrize(
        ("data", "problem"),
        [
            (b"", "is empty or only white space"),
            (b" \n\t\r\n", "is empty or only white space"),
            (b"\xef\xbb\xbf \n", "is empty or only white space"),
            (b"ab\xff\xfec", "has bad byte 0xff at byte offset 2"),
            (b"caf\xe9", "has bad byte 0xe9 at byte offset 3"),
            (
                gzip.compress(b"a", mtime=0),
                "is compressed by gzip: unpack it first",
            ),
            ("ab".encode("utf-16-le"), "is binary: a NUL at byte offset 1"),
            ("é\0".encode(), "is binary: a NUL at byte offset 2"),
            (b"<!DOCTYPE html>\n<p>x", "is a web page: it begins as HTML does"),
            (b" \n<HTML lang=en>", "is a web page: it begins as HTML does"),
            (b"\xef\xbb\xbf\n<html>", "is a web page: it begins as HTML does"),
        ],
    )
    def test_what_is_no_text_is_an_error(self, tmp_path, data, problem):
        path = tmp_path / "bad.txt"
        path.write_bytes(data)
        with raises(
            "text_file must be UTF-8 text. "
            f"Received: text_file={str(path)!r}, which {problem}."
        ):
            sources.read_text_file(path)

    def test_missing_files_and_directories_are_errors(self, tmp_path):
        with raises("which cannot be read: No such file or directory."):
            sources.read_text_file(tmp_path / "missing.txt")
        with raises("which cannot be read: Is a directory."):
            sources.read_text_file(tmp_path)

    def test_markup_that_does_not_begin_the_file_is_text(self, tmp_path):
        path = tmp_path / "about.txt"
        path.write_text("The tag <html> begins a page.", encoding="utf-8")
        assert sources.read_text_file(path) == "The tag <html> begins a page."


def _write(folder, files):
    folder.mkdir(exist_ok=True)
    for name, content in files.items():
        data = content if isinstance(content, bytes) else content.encode()
        (folder / name).write_bytes(data)
    return folder


class TestReadFolder:
    @pytest.mark.parametrize(
        "names",
        [
            ("train.txt", "validation.txt", "test.txt"),
            ("wiki.train.tokens", "wiki.valid.tokens", "wiki.test.tokens"),
            ("ptb.train.txt", "ptb.valid.txt", "ptb.test.txt"),
            ("training", "val", "testing"),
            ("Train.TXT", "DEV.txt", "TEST.txt"),
            ("news-2013-train_0", "news_dev1", "a test of 2 words"),
        ],
    )
    def test_a_word_of_the_name_tells_the_part(self, tmp_path, names):
        contents = ("to be\n", "or not\n", "naïve\r\n\n")
        _write(tmp_path, dict(zip(names, contents, strict=True)))
        assert sources.read_folder(str(tmp_path)) == dict(
            zip(_PARTS, contents, strict=True)
        )

    def test_other_files_hidden_ones_and_folders_are_ignored(self, tmp_path):
        files = {"train.txt": "a", "valid.txt": "b", "test.txt": "c"}
        others = ("README.md", "trainer.txt", "contest.txt", "develop.txt")
        hidden = (".train.txt.swp", ".test.txt", "._valid.txt")
        _write(tmp_path, dict.fromkeys(others + hidden, b"\xff") | files)
        (tmp_path / "train").mkdir()
        (tmp_path / "test").mkdir()
        assert list(sources.read_folder(tmp_path).values()) == ["a", "b", "c"]

    @pytest.mark.parametrize(
        ("names", "part", "allowed", "found"),
        [
            (["train", "valid"], "test", "['test', 'testing']", []),
            (["train", "test", "trial"], "validation", None, []),
            (["valid", "test"], "train", "['train', 'training']", []),
            (
                ["a.test", "b.test", "train", "val"],
                "test",
                "['test', 'testing']",
                ["a.test", "b.test"],
            ),
            (
                ["dev", "test", "train", "val"],
                "validation",
                None,
                ["dev", "val"],
            ),
            # One file would be the text that is trained on and that of scores.
            (["test", "train_valid"], "validation", None, ["train_valid"]),
            ([], "train", "['train', 'training']", []),
        ],
    )
    def test_each_part_has_one_file(
        self, tmp_path, names, part, allowed, found
    ):
        allowed = allowed or "['validation', 'valid', 'val', 'dev']"
        _write(tmp_path, dict.fromkeys(names, "to be"))
        with raises(
            "data_dir must have exactly one file for each part of the text, "
            f"and none for two parts, with one of {allowed} in its name for "
            f"{part!r}. Received: data_dir={str(tmp_path)!r}, with {found} for "
            f"{part!r}, of {sorted(names)}."
        ):
            sources.read_folder(tmp_path)

    def test_a_message_names_ten_files_at_most(self, tmp_path):
        names = [f"part{k}.txt" for k in range(12)]
        _write(tmp_path, dict.fromkeys(names, "to be"))
        with raises(f"with [] for 'train', of {sorted(names)[:10]}."):
            sources.read_folder(tmp_path)

    @pytest.mark.parametrize(
        ("data", "problem"),
        [
            (
                b"<!doctype html><title>404",
                "is a web page: it begins as HTML does",
            ),
            (b"ab\xff", "has bad byte 0xff at byte offset 2"),
            ("ab".encode("utf-16-le"), "is binary: a NUL at byte offset 1"),
            (b"\n \n\r\n", "is empty or only white space"),
        ],
    )
    def test_each_file_is_text(self, tmp_path, data, problem):
        files = {"train.txt": "a", "valid.txt": data, "test.txt": "c"}
        _write(tmp_path, files)
        path = str(tmp_path / "valid.txt")
        with raises(
            "data_dir must be UTF-8 text. "
            f"Received: data_dir={path!r}, which {problem}."
        ):
            sources.read_folder(tmp_path)

    @pytest.mark.parametrize("name", ["missing", "train.txt"])
    def test_must_be_a_folder(self, tmp_path, name):
        _write(tmp_path, {"train.txt": "a"})
        path = str(tmp_path / name)
        with raises(f"data_dir must be a folder. Received: data_dir={path!r}."):
            sources.read_folder(path)


class TestEmbeddedText:
    def test_is_long_english_and_the_same_each_time(self):
        source = sources.embedded_text()
        assert len(source) > 300_000
        assert source.count(" the ") > 3000
        assert source == sources.embedded_text()
