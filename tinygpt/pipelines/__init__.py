"""One line from a folder to what its model does, with the arguments and results of transformers' pipelines.

Reading order: base.py → text_classification.py → fill_mask.py → feature_extraction.py →
sentence_similarity.py → text_generation.py → translation.py → zero_shot.py → factory.py.
"""

from .base import Pipeline
from .factory import PIPELINES, load_folder, pipeline, tasks_of
from .feature_extraction import FeatureExtractionPipeline
from .fill_mask import FillMaskPipeline
from .sentence_similarity import SentenceSimilarityPipeline
from .text_classification import TextClassificationPipeline
from .text_generation import TextGenerationPipeline
from .translation import SummarizationPipeline, Text2TextPipeline, TranslationPipeline
from .zero_shot import ZeroShotPipeline

__all__ = ["FeatureExtractionPipeline", "FillMaskPipeline", "PIPELINES", "Pipeline", "SentenceSimilarityPipeline",
           "SummarizationPipeline", "Text2TextPipeline", "TextClassificationPipeline", "TextGenerationPipeline",
           "TranslationPipeline", "ZeroShotPipeline", "load_folder", "pipeline", "tasks_of"]
