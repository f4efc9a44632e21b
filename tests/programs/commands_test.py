"""The commands that pages and programs show could be run as they stand.

None is run: the program that a command names takes its flags and makes its
configuration of them, and the files, targets and extras that it names are
there. Embedded data alone are opened, so a command may name a file of the
reader's.
"""

import contextlib
import functools
import importlib.util
import pathlib
import re
import shlex
import sys

import pytest
from absl import flags

from nas_keras.experiment.experiment import Experiment

_ROOT = pathlib.Path(__file__).resolve().parents[2]
_PAGES = sorted(
    [
        _ROOT / "CONTRIBUTING.md",
        _ROOT / "README.md",
        *(_ROOT / "docs").glob("*.md"),
        *(_ROOT / name / "README.md" for name in ("cells", "convnets")),
        *(_ROOT / name / "README.md" for name in ("deploy", "examples")),
        *(_ROOT / "train").glob("*.py"),
        *(_ROOT / "benchmarks").glob("*.py"),
        *(_ROOT / "examples").glob("*.py"),
    ]
)
_PROGRAMS = {
    f"nas-{path.stem.replace('_', '-')}": path
    for path in (_ROOT / "train").glob("*.py")
    if path.name != "__init__.py"
}
_NUM_POSITIONAL = {"nas-draw": (0, 2), "nas-report": (1,)}
# Of others, of which only the files that they name are looked at.
_FOREIGN = {"docker", "kubectl", "pre-commit", "pytest", "sacrebleu", "sbatch"}
_BLOCK = re.compile(r"^ *```sh\n(.*?)^ *```", re.MULTILINE | re.DOTALL)
_INLINE = re.compile(r"(?<!`)`((?:nas-|python |make |pip )[^`]+ [^`]+)`")
_OF_DOCSTRING = re.compile(r"^ +((?:nas-|python )(?:.*\\\n)*.*)", re.MULTILINE)
_OF_REPOSITORY = re.compile(
    r"(?:benchmarks|cells|convnets|deploy|docs|examples|tests|train)/.*\.\w+"
)


def _commands(path):
    """Returns the commands that a page, or a program's docstring, shows."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".py":
        text = text.split('"""')[1]
        return [_joined(found) for found in _OF_DOCSTRING.findall(text)]
    blocks = [_joined(block) for block in _BLOCK.findall(text)]
    lines = [line for block in blocks for line in block.splitlines()]
    inline = _INLINE.findall(_BLOCK.sub("", text))
    return [*lines, *(" ".join(found.split()) for found in inline)]


def _joined(text):
    return text.replace("\\\n", " ")


def _check(command):
    """Refuses a command that could not be run."""
    words = shlex.split(command, comments=True)
    while words and re.fullmatch(r"[A-Z_]+=.*", words[0]):
        del words[0]
    if not words:
        return
    name, *arguments = words
    name = name.removeprefix(".venv/bin/")
    for word in arguments:
        if found := _OF_REPOSITORY.fullmatch(word.split("=")[-1]):
            assert (_ROOT / found[0]).exists(), f"no file {found[0]}: {command}"
    if name in _PROGRAMS:
        _check_program(_PROGRAMS[name], arguments, _NUM_POSITIONAL.get(name))
    elif name == "python":
        _check_python(arguments)
    elif name == "make":
        targets = re.findall(r"^([.\w]+):", _text("Makefile"), re.MULTILINE)
        assert set(arguments) <= set(targets), command
    elif name == "pip":
        _check_pip(arguments)
    else:
        assert name in _FOREIGN, f"nothing checks {name!r}: {command}"
    if name == "sbatch":
        _check_program(_PROGRAMS["nas-search"], arguments[1:])


def _text(name):
    return (_ROOT / name).read_text(encoding="utf-8")


def _check_python(arguments):
    script, *arguments = arguments
    if script == "-c":
        compile(arguments[0], "-c", "exec")
    elif script != "-m":
        _check_program(_ROOT / script, arguments)


def _check_pip(arguments):
    known = re.findall(r'^        "(\w+)": ', _text("setup.py"), re.MULTILINE)
    for extras in re.findall(r"\[([\w,]+)\]", " ".join(arguments)):
        assert set(extras.split(",")) <= set(known), extras


def _check_program(path, arguments, num_positional=None):
    """Has a program take its arguments, and make its configuration of them."""
    if "--help" in arguments:
        return
    # A capital letter stands for the reader's number.
    arguments = [re.sub(r"=[A-Z]$", "=2", word) for word in arguments]
    module, its_flags = _program(path)
    with _without_flags(), _with_flags(its_flags):
        _, *rest = flags.FLAGS([str(path), *arguments])
        assert len(rest) in (num_positional or (0,)), f"arguments: {rest}"
        if hasattr(module, "config_from_flags"):
            config = module.config_from_flags()
            if path.stem == "search":
                config.check_workers(flags.FLAGS.local_workers)
                _check_search(config)


def _check_search(config):
    """Opens a search on embedded data."""
    is_text_file = getattr(config.data, "text_file", None)
    if config.data.dataset in ("embedded", "digits") and not is_text_file:
        Experiment(config, _opened(config.data))


@functools.cache
def _opened(data):
    return data.open()


@functools.cache
def _program(path):
    """Returns a program as a module, and its flags by name."""
    name = f"shown_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    with _without_flags(), pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(path.parent)
        sys.modules[name] = module  # absl looks for the flags' module there.
        before = set(flags.FLAGS)
        spec.loader.exec_module(module)
        # Also those that help does not show: they have short names.
        its_flags = {
            name: flags.FLAGS[name] for name in {*flags.FLAGS} - before
        }
        flags.FLAGS.remove_flag_values(its_flags)
    return module, its_flags


@contextlib.contextmanager
def _without_flags():
    """Takes away all flags but absl's own, and puts them back at the end."""
    by_module = flags.FLAGS.flags_by_module_dict().items()
    kept = {
        name
        for module, its_flags in by_module
        if module.startswith("absl.")
        for flag in its_flags
        for name in (flag.name, flag.short_name)
    }
    taken = {
        name: flags.FLAGS[name] for name in flags.FLAGS if name not in kept
    }
    flags.FLAGS.remove_flag_values(taken)
    try:
        yield
    finally:
        for name, flag in taken.items():
            flags.FLAGS[name] = flag


@contextlib.contextmanager
def _with_flags(its_flags):
    """Puts flags in, with their defaults, and takes them away at the end."""
    for name, flag in its_flags.items():
        flags.FLAGS[name] = flag
    try:
        yield
    finally:
        flags.FLAGS.unparse_flags()
        flags.FLAGS.remove_flag_values(its_flags)
        flags.FLAGS.mark_as_parsed()  # As conftest.py left them.


@pytest.mark.parametrize(
    "path", _PAGES, ids=lambda path: path.relative_to(_ROOT).as_posix()
)
def test_the_commands_that_a_page_shows_could_be_run(path):
    for command in _commands(path):
        try:
            _check(command)
        except (flags.Error, ValueError) as error:
            raise AssertionError(f"{command}: {error}") from error


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("nas-search --presets=demo", "Unknown command line flag 'presets'"),
        ("nas-search --preset=dem", "should be one of"),
        ("nas-search --preset=demo --layers=3", "Unknown command line flag"),
        ("nas-search --preset=demo --space.layers=3", "left out where space"),
        ("nas-search --preset=conv_demo --evaluator=scratch", "reward must"),
        ("nas-search --preset=demo --finals.published=lstn", "'lstn'"),
        ("nas-search --preset=demo --local_workers=99", "workers"),
        ("nas-language-model --units=8 --parameters=9", "exclude one another"),
        ("python benchmarks/cell_step.py --repeat=7", "Unknown command line"),
        ("python benchmarks/cell_stop.py", "no file benchmarks/cell_stop.py"),
        ("nas-report", r"\[\]"),
        ("nas-draw lstm", "lstm"),
        ("make serch", "make serch"),
        ("pip install 'nas_keras[reports]'", "reports"),
        ("rm -rf runs", "nothing checks 'rm'"),
    ],
)
def test_a_command_that_could_not_be_run_is_noticed(command, message):
    with pytest.raises(
        (AssertionError, flags.Error, ValueError), match=message
    ):
        _check(command)


def test_commands_are_found_in_blocks_in_text_and_in_docstrings():
    found = {
        name: _commands(_ROOT / name)
        for name in ("README.md", "docs/results.md", "train/search.py")
    }
    assert any(line.startswith("nas-search") for line in found["README.md"])
    assert any("cell_step.py" in line for line in found["docs/results.md"])
    assert any("enas_demo" in line for line in found["train/search.py"])
