"""What tests of drawings share: cells of all kinds, and what is in them."""

from hypothesis import strategies as st

from nas_keras.cells.language.spec import CellSpec
from nas_keras.drawing.cells import diagram_of

_FORMS = (
    "{a}",
    "linear({a})",
    "tanh({a})",
    "(1 - {a}) * linear({a})",
    "linear(sigmoid({a}) * {b})",
    "sigmoid(linear({a}) + linear({b})) * {b}",
    "mean({a}, linear(relu(linear({b}))), 0.5, -{a})",
)


@st.composite
def specs(make):
    """Cells of all kinds: up to 3 states and 15 equations."""
    states = make(st.sampled_from([("h",), ("h", "c"), ("m", "h", "c")]))
    names, equations, unused = ["x", *states], [], []
    for index in range(make(st.integers(0, 12))):
        terms = make(st.lists(st.sampled_from(_FORMS), min_size=1, max_size=3))
        text = []
        for form in terms:
            a, b = (make(st.sampled_from(names)) for _ in range(2))
            text.append(form.format(a=a, b=b))
            used = {a, b} if "{b}" in form else {a}
            unused = [name for name in unused if name not in used]
        name = f"v{index}"
        equations.append(f"{name} = {' + '.join(text)}")
        names.append(name)
        unused.append(name)
    for state in states:
        terms = [make(st.sampled_from(names))]
        if state == states[0]:
            terms += unused
        equations.append(f"next_{state} = {' * '.join(terms)}")
        names.append(f"next_{state}")
    return CellSpec("any", equations, states)


def overlap(a, b):
    """Whether two boxes have more than an edge in common."""
    return (
        a.x < b.x + b.width
        and b.x < a.x + a.width
        and a.y < b.y + b.height
        and b.y < a.y + a.height
    )


def uses_in(spec):
    """Returns (name used, name it is used for) -> use."""
    diagram = diagram_of(spec)
    name = [value.name for value in diagram.values]
    return {(name[use.source], name[use.target]): use for use in diagram.uses}


def memory_in(spec):
    """Returns the uses that carry memory, and the states that it is of."""
    return {
        names: use.memory_of
        for names, use in uses_in(spec).items()
        if use.memory_of
    }
