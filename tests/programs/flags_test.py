"""Tests of nas_keras.programs.flags."""

import pathlib
import re
import subprocess
import sys

import pytest
from absl import flags as absl_flags

from nas_keras.programs import flags as command_line
from nas_keras.settings import Settings
from nas_keras.settings import boolean
from nas_keras.settings import instance
from nas_keras.settings import one_of
from nas_keras.settings import optional
from nas_keras.settings import positive
from nas_keras.settings import setting
from nas_keras.settings import several
from nas_keras.settings import text
from nas_keras.settings import whole
from tests.raising import raises


class _Tree(Settings):
    """A space."""

    base: int = setting(8, "Leaves.", whole(2, 64), source="Z")
    sides: tuple[int, ...] = setting((1,), "Sides.", several(whole(1)))


class _Dag(Settings):
    """Another space."""

    nodes: int = setting(8, "Nodes.", whole(1))
    sides: tuple[str, ...] = setting(
        ("a",), "Names.", several(one_of(["a", "b"]))
    )


class _Learner(Settings):
    """A controller."""

    loss: str = setting("reinforce", "Loss.", one_of(["reinforce", "ppo"]))
    rate: float = setting(0.01, "Learning rate.", positive(), unit="1/update")


class _Model(Settings):
    """A model."""

    units: int = setting(4, "Units.", whole(0))
    is_tied: bool = setting(False, "Whether tied.", boolean())


class _Search(Settings):
    """What is made here."""

    space: _Tree | _Dag = setting(
        _Tree(), "Space to search.", instance({"tree": _Tree, "dag": _Dag})
    )
    learner: _Learner | None = setting(
        None,
        "Controller.",
        instance(
            {
                "none": None,
                "reinforce": _Learner(),
                "ppo": _Learner(loss="ppo"),
            }
        ),
    )
    model: _Model = setting(_Model(), "The model.", instance(_Model))
    parameters: int = setting(0, "Weights.", whole(0))
    path: str | None = setting(None, "Path of a text.", optional(text()))
    seed: int = setting(0, "Seed.", whole(0))


class Flags:
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


def _apply(*arguments, preset=None, implied=None):
    flags = Flags()
    of_search = command_line.define(
        flags,
        _Search,
        without=["seed"],
        short={"base": "space.base", "units": "model.units"},
        either=[
            ("model.units", "parameters"),
            ("parameters", "model.units"),
        ],
    )
    flags.FLAGS(["program", *arguments])
    return of_search.apply(preset or _Search(), implied)


def test_without_flags_a_preset_stays_as_it_is():
    preset = _Search(space=_Dag(nodes=3), learner=_Learner(rate=1.0), seed=5)
    assert _apply(preset=preset) == preset


def test_dots_lead_to_the_fields_of_settings_within_settings():
    preset = _Search(space=_Tree(base=5, sides=(7,)), seed=5)
    found = _apply(
        "--space.base=9", "--model.is_tied", "--path=a.txt", preset=preset
    )
    assert found == _Search(
        space=_Tree(base=9, sides=(7,)),
        model=_Model(is_tied=True),
        path="a.txt",
        seed=5,
    )
    assert _apply("--nomodel.is_tied", preset=found).model == _Model()
    assert _apply("--path=none", preset=found).path is None


def test_a_name_chooses_the_class_with_its_defaults():
    preset = _Search(space=_Tree(base=5))
    assert _apply("--space=dag", preset=preset).space == _Dag()
    found = _apply("--space.nodes=3", "--space=dag", preset=preset)
    assert found.space == _Dag(nodes=3)


def test_the_name_of_the_class_that_is_there_changes_nothing():
    preset = _Search(space=_Tree(base=5, sides=(3,)))
    assert _apply("--space=tree", preset=preset) == preset
    found = _apply("--space=tree", "--space.base=6", preset=preset)
    assert found.space == _Tree(base=6, sides=(3,))


def test_options_of_one_class_differ_in_what_tells_them_apart_alone():
    preset = _Search(learner=_Learner("reinforce", rate=1.0))
    found = _apply("--learner=ppo", preset=preset)
    assert found.learner == _Learner("ppo", rate=1.0)
    assert _apply("--learner=reinforce", preset=found) == preset
    assert _apply("--learner=none", preset=preset).learner is None
    assert _apply("--learner=ppo").learner == _Learner("ppo")


def test_a_short_name_stands_for_a_dotted_one():
    assert _apply("--base=6").space == _Tree(base=6)


def test_lists_have_commas_and_large_ints_exponents():
    assert _apply("--space.sides=1,2").space.sides == (1, 2)
    assert _apply("--space.sides=").space.sides == ()
    found = _apply("--space=dag", "--space.sides=a,b").space
    assert found == _Dag(sides=("a", "b"))
    assert _apply("--parameters=5e6").parameters == 5_000_000


def test_what_another_flag_says_holds_where_none_of_its_own_was_given():
    implied = {"space.base": 3, "path": "b.txt"}
    found = _apply("--path=a.txt", implied=implied)
    assert (found.space.base, found.path) == (3, "a.txt")


def test_of_two_numbers_that_exclude_one_another_the_given_one_stands():
    preset = _Search(parameters=7, model=_Model(units=0))
    found = _apply("--units=5", preset=preset)
    assert (found.model.units, found.parameters) == (5, 0)
    back = _apply("--parameters=7", preset=found)
    assert (back.model.units, back.parameters) == (0, 7)
    both = _apply("--parameters=0", "--model.units=5", preset=preset)
    assert (both.model.units, both.parameters) == (5, 0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["--space.base=1"],
            "--space.base must be an int in [2, 64]. Received: --space.base=1.",
        ),
        (
            ["--base=many"],
            "--base must be an int in [2, 64]. Received: --base=many.",
        ),
        (
            ["--space.base=2.5"],
            "--space.base must be an int in [2, 64]. Received: "
            "--space.base=2.5.",
        ),
        (
            ["--parameters=nan"],
            "--parameters must be an int of at least 0, below 2**63. Received: "
            "--parameters=nan.",
        ),
        (["--parameters=-1"], "2**63. Received: --parameters=-1."),
        (["--parameters=1e19"], "2**63. Received: --parameters=1e19."),
        (
            ["--space.sides=3,wide"],
            "--space.sides must be a tuple, each of its values an int of at "
            "least 1, below 2**63. Received: --space.sides=3,wide.",
        ),
        (
            ["--learner=ppo", "--learner.rate=inf"],
            "--learner.rate must be positive and finite. Received: "
            "--learner.rate=inf.",
        ),
        (
            ["--space=grid"],
            "--space must be one of ['tree', 'dag']. Received: --space=grid.",
        ),
        (
            ["--space.nodes=3"],
            "--space.nodes must be left out where space is 'tree', whose "
            "settings are ['base', 'sides']. Received: --space.nodes=3.",
        ),
        (
            ["--space=dag", "--base=3"],
            "--base must be left out where space is 'dag', whose settings are "
            "['nodes', 'sides']. Received: --base=3.",
        ),
        (
            ["--learner.rate=1"],
            "--learner.rate must be left out where learner is 'none', whose "
            "settings are []. Received: --learner.rate=1.",
        ),
        (
            ["--base=3", "--space.base=3"],
            "--space.base and --base are the same setting, to be given once. "
            "Received: --space.base=3 --base=3.",
        ),
        (
            ["--units=8", "--parameters=5e6"],
            "--units and --parameters exclude one another. Received: "
            "--units=8 --parameters=5e6.",
        ),
        (
            ["--path=a\nb"],
            r"--path must be printable text. Received: 'a\nb'.",
        ),
    ],
)
def test_a_wrong_flag_is_refused_by_its_name(arguments, message):
    with raises(message):
        _apply(*arguments)


def test_a_field_that_is_left_out_has_no_flag():
    with pytest.raises(absl_flags.Error, match="Unknown command line flag"):
        _apply("--seed=3")
    flags = Flags()
    command_line.define(flags, _Search, without=["space", "model.units"])
    assert "model.is_tied" in flags.FLAGS
    for name in ("space", "space.base", "model", "model.units"):
        assert name not in flags.FLAGS


def test_a_short_name_must_be_of_a_field():
    with raises(
        "short must name fields of _Search. Received: ['space.bases']."
    ):
        command_line.define(Flags(), _Search, short={"b": "space.bases"})


def test_all_fields_within_may_have_short_names():
    class Twice(Settings):
        """A whole."""

        units: int = setting(4, "Units.", whole(0))
        model: _Model = setting(_Model(), "The model.", instance(_Model))
        tree: _Tree = setting(_Tree(), "A tree.", instance(_Tree))
        dag: _Dag = setting(_Dag(), "A DAG.", instance(_Dag))

    names = command_line.short_names(Twice)
    assert names == {
        "is_tied": "model.is_tied",
        "base": "tree.base",
        "nodes": "dag.nodes",
    }
    flags = Flags()
    command_line.define(flags, Twice, without=["dag"], short=names)
    assert "base" in flags.FLAGS and "nodes" not in flags.FLAGS


def test_help_shows_each_setting_once_as_its_field_describes_it():
    flags = Flags()
    command_line.define(flags, _Search, short={"base": "space.base"})
    shown = flags.FLAGS.module_help(sys.modules[__name__])
    shown = " ".join(shown.split())
    assert (
        "--base: Leaves. Must be an int in [2, 64]. Default: 8 (Z). (Also "
        "--space.base.)" in shown
    )
    assert "--space.base:" not in shown
    assert "--space: Space to search. Must be one of ['tree', 'dag']." in shown
    assert (
        "--space.sides: Sides. Must be a tuple, each of its values an int of "
        "at least 1, below 2**63. Default: (1,). Or: Names. Must be" in shown
    )
    assert "--[no]model.is_tied: Whether tied." in shown
    assert "Unit: 1/update." in shown
    assert not re.search("--model: ", shown)


def test_help_says_that_presets_come_first(capsys):
    flags = Flags()
    parse = command_line.parser(flags, "nas-test", __name__)
    words = "A preset's values come before the defaults below."
    for is_there in (False, True):
        if is_there:
            flags.DEFINE_string("preset", None, "")
        with pytest.raises(SystemExit):
            parse(["program", "--help"])
        assert (words in capsys.readouterr().out) == is_there


def test_help_needs_no_docstrings():
    # PYTHONOPTIMIZE=2 removes them.
    program = (
        "import sys; from absl import flags\n"
        "from nas_keras.programs.flags import define\n"
        "from nas_keras.settings import *\n"
        "class Of(Settings):\n"
        "    '''Some.'''\n"
        "    base: int = setting(8, 'Leaves.', whole(2))\n"
        "of = define(flags, Of)\n"
        "flags.FLAGS(['program', '--base=9'])\n"
        "print(of.apply(Of()).base, flags.FLAGS['base'].help)\n"
    )
    ran = subprocess.run(
        [sys.executable, "-OO", "-c", program],
        capture_output=True,
        text=True,
        check=True,
    )
    assert ran.stdout.startswith("9 Leaves. Must be an int")


# Help, errors, and checks of command lines.


@pytest.fixture
def flags():
    return Flags()


def test_help_is_the_docstring_and_the_flags(flags, capsys):
    command_line.define(flags, _Model)
    parse = command_line.parser(flags, "nas-test", __name__)
    with pytest.raises(SystemExit) as ended:
        parse(["program", "--units=5", "--help"])
    assert ended.value.code == 0
    output = capsys.readouterr().out
    assert output.startswith(f"{__doc__}\n")
    assert "--units" in output


def test_a_wrong_flag_ends_the_program_in_one_line(flags, capsys):
    command_line.define(flags, _Model)
    flags.DEFINE_integer("number", 0, "")
    parse = command_line.parser(flags, "nas-test", __name__)
    assert parse(["program", "--units=5", "file"]) == ["program", "file"]
    with pytest.raises(SystemExit) as ended:
        parse(["program", "--number=many"])
    assert ended.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert re.match("nas-test: .*--number=many", line)


def test_arguments_that_no_flag_takes_are_refused():
    command_line.check_no_arguments(["program"])
    with pytest.raises(ValueError, match=r"Unexpected arguments: \['a'\]\."):
        command_line.check_no_arguments(["program", "a"])


def test_a_path_must_be_printable(flags):
    flags.DEFINE_string("path", None, "")
    for value in (None, "", "a b", "é"):
        flags.FLAGS.path = value
        command_line.check_printable(flags, ["path"])
    flags.FLAGS.path = "a\nb"
    message = r"--path must be printable text. Received: 'a\nb'."
    with pytest.raises(ValueError, match=re.escape(message)):
        command_line.check_printable(flags, ["path"])


@pytest.mark.parametrize(
    "text", ["[]", "3", "{}", '{"a": 1}', '{"a": {"b": "x"}}', "{"]
)
def test_a_result_that_lacks_what_is_read_is_named(text, tmp_path):
    (tmp_path / "result.json").write_text(text)
    with (
        raises("result.json: damaged"),
        command_line.reading_result(tmp_path) as result,
    ):
        f"{result['a']['b']:.2f}"


def test_a_library_that_is_not_there_is_named_with_its_extra():
    command_line.check_library("report", "json", "report")
    message = (
        "--report needs no_such_library: pip install 'nas_keras[report]', or "
        "give --noreport."
    )
    with pytest.raises(ValueError, match=re.escape(message)):
        command_line.check_library(
            "report", "no_such_library", "report", ", or give --noreport"
        )


def test_absl_is_given_and_not_imported():
    source = pathlib.Path(command_line.__file__).read_text("utf-8")
    assert "absl import" not in source and "import absl" not in source
