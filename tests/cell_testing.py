"""What tests of cells share: specs and their files; the published cells."""

from pathlib import Path

from nas_keras.cells.language.spec import CellSpec

RNN = ("next_h = tanh(linear(x) + linear(h))",)
# A weight of every role, and a state and a kernel of its own.
EVERY_ROLE = CellSpec(
    "every_role",
    ["next_c = tanh(linear(x) + linear(h) * linear(c))", "next_h = next_c - c"],
)
# Their fingerprints.
PUBLISHED = {
    "darts_v1": (
        "75e5d056f919b461c74b8520d544b014fa6f7e22286cad0303a1cfaa0b239225"
    ),
    "darts_v2": (
        "77d38ea096962958714f6ee3100b099a52da885829582b7f9f3f25fce3379183"
    ),
    "enas_lm": (
        "dc298fe0542536f8566648c6ba554d7fd62f286809499585a546fa94d2651351"
    ),
    "enas_ptb": (
        "52a3d8f8f2c7b15822a399e2191e1ff73fad8603a84b02cfd4cbbd56549028a3"
    ),
    "gru": "f0ab21d8f54c725fe8521e475954d96a695417b4b4bf179d5cecac942cd48eaf",
    "gru_reset_after": (
        "dc24e1702dbc6592e17e24c3d2d1953730e5d5b82bd47dfe2e580312a59bb718"
    ),
    "lstm": "5a889a5829f633354cad67ab8d1c262c822611267ae01ff1900f47179d10d146",
    "mut1": "e1c74dd5c655b4b698f9d7f9b38a167c9682da90ffa4510a75b34bb58cd622e6",
    "mut2": "7601eaaf510c49dd232118c7d74f0dc87eed6a9f821d2d3fef363b00956f618f",
    "mut3": "d676798a43ed098dada6a9c7f3611b24cd7dafd12fd2105c1f6483cb8f498596",
    "nascell": (
        "f6058ca35528c399321a78a958f1e73535c8347ba34510bcacc4783e4c719f31"
    ),
    "rhn_5": "8fe4dec378773144647beafac058e6c80e8ed461fe31de310f5d6018719c6479",
    "simple_rnn": (
        "946ddba2ba31e5b49b2ff9c72fbada9824ce7e40ede7af205c22865c3ec37aba"
    ),
    "tree8_char": (
        "60a624dda11f05eb931fbf2d24e0efb4654ad617760ad5db4226d693e0fc2825"
    ),
    "ugrnn": "78c77dc785cd44d999c1b6f8c1bac9a529106bd1a7eac440ca84bca300417ada",
}


def make_spec(*equations, states=("h",), name="toy", provenance=None):
    return CellSpec(name, equations, states, provenance or {})


def write(folder, text, name="cell.json"):
    path = Path(folder) / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def cell_json(**changes):
    return {"schema": 1, "name": "c", "states": ["h"], "equations": RNN} | (
        changes
    )
