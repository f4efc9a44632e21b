"""Tasks: models around an architecture, and how they are trained and scored."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    "nas_keras",
    submod_attrs={
        "recipes.image_trainings": ["IMAGE_PRESETS"],
        "recipes.language_models": ["TRAINING_PRESETS"],
        "recipes.translations": ["TRANSLATION_PRESETS"],
        "tasks.images.config": ["ImageConfig"],
        "tasks.images.grid_training": ["train_grid"],
        "tasks.images.task": ["ImageTask"],
        "tasks.images.training": ["ImageEpoch", "train_images"],
        "tasks.language_model.children": ["LanguageModelTrainer"],
        "tasks.language_model.config": ["LanguageModelConfig"],
        "tasks.language_model.epochs": ["Epoch", "train_language_model"],
        "tasks.language_model.model": ["LanguageModel", "LanguageModelTask"],
        "tasks.language_model.training_config": ["TrainingConfig"],
        "tasks.language_model.use": ["export", "generate", "trained_model"],
        "tasks.training.loop": ["TrainingError"],
        "tasks.translation.config": [
            "TranslationConfig",
            "TranslationModelConfig",
        ],
        "tasks.translation.model": ["TranslationModel"],
        "tasks.translation.training": [
            "TranslationEpoch",
            "train_translation",
        ],
        "tasks.translation.translator": ["Translation", "Translator"],
    },
)
