"""Tasks: models around a cell, and how they are trained and scored."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "image_classification": ["ImageEpoch", "train_images"],
        "image_config": ["ImageConfig"],
        "image_grid_training": ["train_grid"],
        "image_presets": ["IMAGE_PRESETS"],
        "image_task": ["ImageTask"],
        "language_model": ["LanguageModel", "LanguageModelTask"],
        "language_model_config": ["LanguageModelConfig"],
        "language_model_epochs": [
            "Epoch",
            "train_language_model",
        ],
        "language_model_training": ["LanguageModelTrainer"],
        "language_model_use": ["export", "generate", "trained_model"],
        "training_config": ["TrainingConfig"],
        "training_loop": ["TrainingError"],
        "training_presets": ["TRAINING_PRESETS"],
        "translation": ["TranslationEpoch", "train_translation"],
        "translation_config": [
            "TranslationConfig",
            "TranslationModelConfig",
        ],
        "translation_model": ["TranslationModel"],
        "translation_presets": ["TRANSLATION_PRESETS"],
        "translator": ["Translation", "Translator"],
    },
)
