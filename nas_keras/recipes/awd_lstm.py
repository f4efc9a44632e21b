"""M: Merity, Keskar & Socher 2017, https://arxiv.org/abs/1708.02182.

Its program is github.com/salesforce/awd-lstm-lm.

Frozen values; no TensorFlow, no Keras.
"""

from nas_keras.tasks.language_model.config import LanguageModelConfig
from nas_keras.tasks.language_model.config import TrainingConfig

PTB = TrainingConfig(
    preset="awd_lstm",
    model=LanguageModelConfig(
        units=1_150,  # M.
        num_layers=3,  # M.
        embedding_units=400,  # M.
        last_units=400,  # M: as wide as the embedding, which it is tied to.
        tied=True,  # M.
        use_bias=True,  # M.
        batch_size=20,  # M.
        num_steps=70,  # M.
        num_updates=0,
        num_epochs=500,  # M.
        optimizer="sgd",  # M.
        learning_rate=30.0,  # M.
        clip_norm=0.25,  # M.
        init_scale=0.03,  # M: 1 / sqrt(1150) in cells; 0.1 in embeddings.
        embedding_dropout=0.1,  # M.
        input_dropout=0.4,  # M.
        layer_dropout=0.25,  # M.
        output_dropout=0.4,  # M.
        recurrent_dropout=0.5,  # M drops weights of the recurrent kernel.
        activation_penalty=2.0,  # M.
        slowness_penalty=1.0,  # M.
        weight_decay=1.2e-6,  # M.
        average="nonmonotone",  # M.
        average_patience=5,  # M.
        vary_steps=True,  # M.
        select="best",
    ),
)
