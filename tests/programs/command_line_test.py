"""Tests of nas_keras.programs.flags."""

import dataclasses
import inspect
import pathlib
import re
import sys

import pytest
from absl import flags as absl_flags

from nas_keras.experiment.config import SearchConfig
from nas_keras.programs import flags as program_flags
from nas_keras.storage import run_config
from tests.raising import raises


@dataclasses.dataclass(frozen=True)
class _Config:
    """What is made here.

    Attributes:
        units: Of each layer,
            and no more.
        rate: In nats.
        is_new: Or old.
        sides: Of a kernel.
        names: Of cells.
        path: Of a file.
        other: Not a flag.
    """

    units: int = 3
    rate: float = 0.5
    is_new: bool = False
    sides: tuple[int, ...] = (1,)
    names: tuple[str, ...] = ("a",)
    path: str | None = None
    other: object = None


class _Flags:
    """absl's flags, with values of their own."""

    Error = absl_flags.Error
    disclaim_key_flags = staticmethod(absl_flags.disclaim_key_flags)

    def __init__(self):
        self.FLAGS = absl_flags.FlagValues()

    def __getattr__(self, name):
        def define(*arguments, **options):
            function = getattr(absl_flags, name)
            return function(*arguments, flag_values=self.FLAGS, **options)

        return define


@pytest.fixture
def flags():
    return _Flags()


def _config_flags(flags):
    return program_flags.define_flags(
        flags, _Config, without=["other"], names={"rate": "speed"}
    )


def test_a_configuration_has_a_flag_for_each_attribute(flags):
    of_config = _config_flags(flags)
    flags.FLAGS(
        ["program", "--units=5", "--speed=1e-3", "--nois_new", "--sides=3,5",
         "--names=x,y", "--path=z"]
    )  # fmt: skip
    assert dataclasses.replace(_Config(), **of_config.given()) == _Config(
        5, 1e-3, False, (3, 5), ("x", "y"), "z"
    )


def test_what_is_not_given_is_not_among_the_values(flags):
    of_config = _config_flags(flags)
    flags.FLAGS(["program", "--units=5"])
    assert of_config.given() == {"units": 5}


def test_attributes_are_found_in_docstrings_of_any_python(monkeypatch):
    want = run_config.attribute_docs(_Config)
    assert want["units"] == "Of each layer, and no more."
    # From 3.13 on, Python dedents them.
    monkeypatch.setattr(_Config, "__doc__", inspect.cleandoc(_Config.__doc__))
    assert run_config.attribute_docs(_Config) == want


def test_a_flag_belongs_to_the_module_that_asks_and_has_its_text(flags):
    _config_flags(flags)
    text = flags.FLAGS.module_help(sys.modules[__name__])
    assert re.search(r"--units: Of each layer, and no more\.\n", text)
    assert re.search(r"--speed: In nats\.\n", text)
    assert "other" not in text


def test_a_list_of_ints_must_be_ints(flags):
    of_config = _config_flags(flags)
    flags.FLAGS(["program", "--sides=3,wide"])
    message = "--sides must be ints. Received: --sides=3,wide."
    with pytest.raises(ValueError, match=re.escape(message)):
        of_config.given()


def test_help_is_the_docstring_and_the_flags(flags, capsys):
    _config_flags(flags)
    parse = program_flags.parser(flags, "nas-test", __name__)
    with pytest.raises(SystemExit) as ended:
        parse(["program", "--units=5", "--help"])
    assert ended.value.code == 0
    output = capsys.readouterr().out
    assert output.startswith(f"{__doc__}\n")
    assert "--units" in output


def test_a_wrong_flag_ends_the_program_in_one_line(flags, capsys):
    _config_flags(flags)
    parse = program_flags.parser(flags, "nas-test", __name__)
    assert parse(["program", "--units=5", "file"]) == ["program", "file"]
    with pytest.raises(SystemExit) as ended:
        parse(["program", "--units=many"])
    assert ended.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert re.match("nas-test: .*--units=many", line)


def test_a_number_of_weights_may_be_a_float(flags):
    holder = flags.DEFINE_float("parameters", None, "")
    flags.FLAGS(["program"])
    assert program_flags.parameters(holder, 7) is None
    flags.FLAGS(["program", "--parameters=5e6"])
    assert program_flags.parameters(holder, None) == 5_000_000


@pytest.mark.parametrize(
    ("value", "units", "message"),
    [
        ("-1", None, "--parameters must be in [0, 2**63). Received: "
         "--parameters=-1.0."),
        ("nan", None, "Received: --parameters=nan."),
        ("1e19", None, "Received: --parameters=1e+19."),
        ("5e6", 8, "--units and --parameters exclude one another. Received: "
         "--units=8 --parameters=5e+06."),
    ],
)  # fmt: skip
def test_another_number_of_weights_is_refused(flags, value, units, message):
    holder = flags.DEFINE_float("parameters", None, "")
    flags.FLAGS(["program", f"--parameters={value}"])
    with pytest.raises(ValueError, match=re.escape(message)):
        program_flags.parameters(holder, units)


def test_arguments_that_no_flag_takes_are_refused():
    program_flags.check_no_arguments(["program"])
    with pytest.raises(ValueError, match=r"Unexpected arguments: \['a'\]\."):
        program_flags.check_no_arguments(["program", "a"])


def test_a_path_must_be_printable(flags):
    flags.DEFINE_string("path", None, "")
    for value in (None, "", "a b", "é"):
        flags.FLAGS.path = value
        program_flags.check_printable(flags, ["path"])
    flags.FLAGS.path = "a\nb"
    message = r"--path must be printable text. Received: 'a\nb'."
    with pytest.raises(ValueError, match=re.escape(message)):
        program_flags.check_printable(flags, ["path"])


@pytest.mark.parametrize(
    "text", ["[]", "3", "{}", '{"a": 1}', '{"a": {"b": "x"}}', "{"]
)
def test_a_result_that_lacks_what_is_read_is_named(text, tmp_path):
    (tmp_path / "result.json").write_text(text)
    with (
        raises("result.json: damaged"),
        program_flags.reading_result(tmp_path) as result,
    ):
        f"{result['a']['b']:.2f}"


def test_a_library_that_is_not_there_is_named_with_its_extra():
    program_flags.check_library("report", "json", "report")
    message = (
        "--report needs no_such_library: pip install 'nas_keras[report]', or "
        "give --noreport."
    )
    with pytest.raises(ValueError, match=re.escape(message)):
        program_flags.check_library(
            "report", "no_such_library", "report", ", or give --noreport"
        )


def test_every_attribute_of_a_search_can_be_a_flag(flags):
    program_flags.define_flags(flags, SearchConfig, ["child", "retrain"])
    source = pathlib.Path(flags.__file__).read_text("utf-8")
    assert "import absl" not in source
    assert len(list(flags.FLAGS)) == len(dataclasses.fields(SearchConfig)) - 2
