"""Entry point `questions`: what is commonly said, and whether it holds by what was measured."""

from pipeline import command
from pipeline.comparing.claims import claims, written
from pipeline.parameters import Questions


def questions(asked: Questions) -> str:
    """Say of every claim that comparisons make whether it holds, by their newest finished runs.

    Logs a page and a table: question, answer, what is commonly said, the command that answers it,
    and what is not measured yet. With readme, the table is put into a file of one's own, too.

    \b
    python -m pipeline.questions
    python -m pipeline.questions --comparisons activations,sparsity --readme README.md
    """
    return written(claims(asked), asked)


if __name__ == "__main__":
    command.run(questions)
