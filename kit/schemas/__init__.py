"""What the stages hand on to each other, and what a model is asked to reply with.

Field names in capitals are those of The AI Scientist, so that its files and ours can be exchanged.
No type that a model fills in holds an open dictionary: providers' strict modes refuse them.
"""

from kit.schemas.errors import FormatError, KitError
from kit.schemas.experiments import (
    Arm,
    Caption,
    Captions,
    Conclusion,
    Edit,
    FigureLook,
    FigureProblem,
    NewMetric,
    Note,
    Plan,
    Probe,
    Probed,
    RunResult,
)
from kit.schemas.ideas import Idea, Novelty, NoveltyQuery, Query, Reflection
from kit.schemas.numbers import Comparison, Margin, Number, Verdict, Weight, Yardstick
from kit.schemas.paper import (
    SOURCES,
    Build,
    Choice,
    Choices,
    Critique,
    Finding,
    Paper,
    Point,
    Problem,
    Queries,
    Reference,
)
from kit.schemas.quiz import QuizAnswer
from kit.schemas.review import POINTS, Correction, Review, ReviewReflection
from kit.schemas.template import AdoptedMetric, AdoptedSize, Adoption

__all__ = [
    "POINTS",
    "SOURCES",
    "AdoptedMetric",
    "AdoptedSize",
    "Adoption",
    "Arm",
    "Build",
    "Caption",
    "Captions",
    "Choice",
    "Choices",
    "Comparison",
    "Conclusion",
    "Correction",
    "Critique",
    "Edit",
    "FigureLook",
    "FigureProblem",
    "Finding",
    "FormatError",
    "Idea",
    "KitError",
    "Margin",
    "NewMetric",
    "Note",
    "Novelty",
    "NoveltyQuery",
    "Number",
    "Paper",
    "Plan",
    "Point",
    "Probe",
    "Probed",
    "Problem",
    "Queries",
    "Query",
    "QuizAnswer",
    "Reference",
    "Reflection",
    "Review",
    "ReviewReflection",
    "RunResult",
    "Verdict",
    "Weight",
    "Yardstick",
]
