"""Entry point `questions`: all questions answered, and what holds of what is commonly said."""

from pipeline import command
from pipeline.comparing.questionnaire import questionnaire
from pipeline.comparing.questions_page import written
from pipeline.parameters import Questions


def questions(asked: Questions) -> str:
    """Answer every question of comparisons by their newest finished runs, on one page.

    With the verdict and its figures, what is commonly said and whether that holds, the command that
    answers it, and what is not measured yet. With readme, the tables are put into a file, too.

    \b
    python -m pipeline.questions
    python -m pipeline.questions --comparisons activations,sparsity --readme README.md
    """
    return written(questionnaire(asked), asked)


if __name__ == "__main__":
    command.run(questions)
