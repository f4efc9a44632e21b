"""L: the later program of ENAS' authors for text.

https://github.com/google-research/google-research, folder enas_lm.

Frozen values; no TensorFlow, no Keras.
"""

from nas_keras.recipes import enas2018

# Of the best cells that a search found.
FINAL = enas2018.PTB.model.replace(
    num_epochs=3_000,  # L.
    schedule="constant",  # L.
    learning_rate=20.0,  # L.
    clip_norm=0.25,  # L.
    init_scale=0.05,  # L.
    input_dropout=0.725,  # L, where inputs enter cells; and 0.175 before.
    output_dropout=0.75,  # L.
    recurrent_dropout=0.225,  # L.
    embedding_dropout=0.125,  # L.
    weight_decay=8e-7,  # L.
    activation_penalty=0.7,  # L.
    slowness_penalty=1.0,  # L, of the search.
)

SEARCH = enas2018.PTB_SEARCH.replace(
    preset="enas_lm",
    space=enas2018.PTB_SEARCH.space.replace(
        nodes=8,  # L.
        average="all",  # L, on GPUs.
    ),
    controller=enas2018.PTB_SEARCH.controller.replace(
        units=64,  # L.
        init_scale=0.01,  # L.
        learning_rate=5e-5,  # L.
        entropy_weight=1e-5,  # L.
        tanh_constant=2.25,  # L.
        baseline_decay=0.999,  # L.
    ),
    evaluator=enas2018.PTB_SEARCH.evaluator.replace(
        num_phases=600,  # L.
        steps_per_phase=25,  # L.
    ),
    num_trials=150_000,  # L: 25 updates of 10 for each of 600 epochs.
    batch_size=10,  # L.
    child=enas2018.PTB_SEARCH.child.replace(
        units=200,  # L.
        batch_size=128,  # L.
        num_epochs=600,  # L.
        schedule="constant",  # L.
        clip_norm=0.1,  # L.
        input_dropout=0.75,  # L, where inputs enter cells; and 0.2 before.
        output_dropout=0.75,  # L.
        recurrent_dropout=0.25,  # L.
        embedding_dropout=0.1,  # L.
        weight_decay=8e-7,  # L, of what is in use.
        slowness_penalty=1.0,  # L.
    ),
    finals=enas2018.PTB_SEARCH.finals.replace(
        training=FINAL,
        parameters=21_000_000,  # L: 20.8 M.
    ),
)
