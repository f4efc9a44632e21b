"""Tasks: models around an architecture, and how they are trained and scored."""

from nas_keras import facade

__getattr__, __dir__, __all__ = facade.attach(
    __name__,
    submod_attrs={
        "recipes.language_models": ["TRAINING_PRESETS"],
        "recipes.trainings": ["IMAGE_PRESETS", "TRANSLATION_PRESETS"],
        "tasks.images.config": ["Adam", "ImageConfig", "ImageTraining", "Sgd"],
        "tasks.images.grid": ["train_grid"],
        "tasks.images.task": ["ImageTask"],
        "tasks.images.training": ["ImageEpoch", "train_images"],
        "tasks.language_model.config": [
            "LanguageModelConfig",
            "TrainingConfig",
        ],
        "tasks.language_model.model": ["LanguageModel"],
        "tasks.language_model.program": ["LanguageModelTrainer"],
        "tasks.language_model.task": ["LanguageModelTask"],
        "tasks.language_model.training": ["Epoch", "train_language_model"],
        "tasks.language_model.use": ["export", "generate", "trained_model"],
        "tasks.task": ["Metric", "Program", "SharedProgram", "Task"],
        "tasks.training.loop": ["TrainingError"],
        "tasks.training.schedules": [
            "Constant",
            "Cosine",
            "CosineRestarts",
            "Halving",
            "Step",
        ],
        "tasks.translation.config": [
            "TranslationConfig",
            "TranslationModelConfig",
            "TranslationTraining",
        ],
        "tasks.translation.model": ["TranslationModel"],
        "tasks.translation.task": ["TranslationTask"],
        "tasks.translation.training": [
            "TranslationEpoch",
            "train_translation",
        ],
        "tasks.translation.translator": ["Translation", "Translator"],
    },
)
