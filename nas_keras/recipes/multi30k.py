"""Multi30k: Elliott et al. 2016, https://arxiv.org/abs/1605.00459."""

from nas_keras.data.parallel_sources import PairData
from nas_keras.tasks.translation.config import TranslationConfig
from nas_keras.tasks.translation.config import TranslationModelConfig
from nas_keras.tasks.translation.config import TranslationTraining

# 29,000 pairs. A small GNMT; all constants are ours, chosen on validation for
# two hours of two cores.
TRANSLATION = TranslationConfig(
    preset="multi30k",
    data=PairData(dataset="files"),
    training=TranslationTraining(
        vocabulary_size=4_000,
        parameters=8_000_000,
        model=TranslationModelConfig(
            num_layers=3, dropout=0.2, output_dropout=0.2
        ),
        batch_tokens=1_000,
        num_epochs=10,
        learning_rate=8e-3,
        warmup_updates=200,
        average_epochs=3,
    ),
)
