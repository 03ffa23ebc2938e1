"""The command line: `python -m kit`, or `kit`."""

import argparse
import ast
import json
import os
import re
import sys

from kit import __version__
from kit.schemas import KitError

ABOUT = """\
From an idea to a reviewed paper, in four notebooks:

  01_ideas → 02_experiments → 03_paper → 04_review

`kit run` executes them one after the other and keeps the executed copies beside what they made.
To resume is to run again: the same command finds what is there and does nothing twice."""

EXAMPLES = """\
examples:
  kit run --template diffusion_2d --model offline --num_ideas 1     no key, no GPU, no network
  kit run --template diffusion_2d --model openai/gpt-4o --select best:2
  kit run ... --fresh                                               start anew; the old folder is kept aside
  kit run --template diffusion_2d --model anthropic/claude-sonnet-4-5 --budget "5 dollars"
  kit report outputs/demo                                           one HTML page of a run
  kit compare gpt claude                                            several runs side by side, with verdicts
  kit cost demo                                                     what its calls took
  kit trace demo 7                                                  all that was said in the seventh
  kit new-template my_template                                      a small one that runs, to be changed
  kit new-template my_template --from ~/my_code --model openai/gpt-4o   from your own script
  kit check my_template                                             whether a template fits
  kit doctor                                                        what is there, what is missing"""


def main(argv: list[str] | None = None) -> int:
    """Run a command; errors that a person can mend are said without a traceback."""
    argv = sys.argv[1:] if argv is None else argv
    try:
        from dotenv import load_dotenv

        load_dotenv()
        parser = build_parser(with_parameters=bool(argv) and argv[0] == "run")
        arguments = parser.parse_args(argv)
        return arguments.do(arguments)
    except KitError as error:
        print(f"\nerror: {error}", file=sys.stderr)
        return 1
    except BrokenPipeError:  # `kit trace | head`: whoever read has read enough
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115  # the interpreter flushes it at its end
        return 0
    except KeyboardInterrupt:
        print("\nstopped; the same command goes on from here", file=sys.stderr)
        return 130


def build_parser(with_parameters: bool) -> argparse.ArgumentParser:
    """The parser; the options of `run` are the parameters of the four notebooks, read from them."""
    form = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser("kit", description=ABOUT, epilog=EXAMPLES, formatter_class=form)
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    run = commands.add_parser("run", help="ideas, experiments, paper and review", description=ABOUT,
                              formatter_class=form, allow_abbrev=False)  # fmt: skip
    run.set_defaults(do=do_run)
    run.add_argument("--fresh", action="store_true", help="start anew; the old folder is kept aside")
    if with_parameters:
        add_parameters(run)
    for name, do, words in (
        ("report", do_report, "one self-contained HTML page of a run"),
        ("cost", do_cost, "what a run's calls took, by stage, idea and prompt"),
        ("trace", do_trace, "the calls of a run; with a number, all that was said in one of them"),
    ):
        of_a_run = commands.add_parser(name, help=words)
        of_a_run.add_argument("run", nargs="?", default="", help="folder or name of the run; default: the latest")
        of_a_run.set_defaults(do=do)
    of_a_run.add_argument("number", nargs="?", type=int, help="number of the call, as the list shows it")
    compare = commands.add_parser("compare", help="one HTML page of several runs, side by side")
    compare.add_argument("runs", nargs="+", help="folders or names; the others are held against the first")
    compare.set_defaults(do=do_compare)
    commands.add_parser("runs", help="the runs in outputs/").set_defaults(do=do_runs)
    new = commands.add_parser("new-template", help="a template from a skeleton, or from a script of your own")
    new.add_argument("name", help="what it shall be called: templates/NAME")
    new.add_argument("--from", dest="origin", default="", metavar="FOLDER",
                     help="folder of a script, or an address that git can clone")  # fmt: skip
    new.add_argument("--model", default="offline",
                     help="who adopts it; offline: it stays as it is and is run once a seed")  # fmt: skip
    new.add_argument("--script", default="", help="which program of the folder is the experiment")
    new.add_argument("--timeout", type=float, default=600, help="seconds for one run (default: 600)")
    new.add_argument("--sandbox", default="auto", help="auto, bubblewrap, namespaces, limits (default: auto)")
    new.add_argument("--budget", default="", help='what the calls may cost, such as "2 dollars"')
    new.set_defaults(do=do_new_template)
    check = commands.add_parser("check", help="whether a template fits, and in plain words what does not")
    check.add_argument("template", help="folder in templates/, or a path")
    check.add_argument("--preset", default="", help="size to run; default: the smallest")
    check.add_argument("--timeout", type=float, default=600, help="seconds for one run (default: 600)")
    check.add_argument("--sandbox", default="auto", help="auto, bubblewrap, namespaces, limits (default: auto)")
    check.set_defaults(do=do_check)
    doctor = commands.add_parser("doctor", help="what is there, what is missing, and the line that mends it")
    doctor.set_defaults(do=do_doctor)
    return parser


def add_parameters(parser: argparse.ArgumentParser) -> None:
    """One option for each parameter of a stage's notebook, with the notebook's own words."""
    from kit.pipeline import STAGES, notebook, parameters

    seen: set[str] = {"idea"}  # each chosen idea is carried out
    for stage in STAGES:
        group = parser.add_argument_group(f"{stage} ({notebook(stage).name})")
        for name, about in parameters(stage).items():
            if name not in seen:
                words = f"{about['help']} (default: {about['default']})".replace("%", "%%")
                group.add_argument(f"--{name}", metavar=about["inferred_type_name"], help=words,
                                   type=reader(about["inferred_type_name"]), default=argparse.SUPPRESS)  # fmt: skip
            seen.add(name)


def reader(kind: str):
    """How the text of an option becomes a parameter's value."""
    if kind == "list":
        return read_list
    if kind == "bool":
        return lambda text: {"true": True, "false": False}[text.lower()]
    return {"int": int, "float": float, "str": str}.get(kind, ast.literal_eval)


def read_list(text: str) -> list[str]:
    """Names with commas between them; sentences, which may hold commas, with semicolons, or a list as JSON has it."""
    if text.lstrip().startswith('["'):
        return [str(part) for part in json.loads(text)]
    sentences = ";" in text or re.search(r"\w\s+\w", text)
    parts = text.split(";") if sentences else text.strip("[]").replace('"', "").split(",")
    return [part.strip() for part in parts if part.strip()]


def do_run(arguments: argparse.Namespace) -> int:
    """Run the stages, make the report, and say where everything is."""
    from kit import pipeline
    from kit.report import build_report, closing_words

    values = {n: v for n, v in vars(arguments).items() if n not in ("do", "fresh")}
    for name in ("budget", "idea_budget"):
        if values.get(name) == "":  # a shell makes nothing of "$5"
            raise KitError(f"--{name} is empty. Write 5 dollars, or '$5' in single quotes; leave it out for no limit.")
    run = pipeline.run_all(fresh=arguments.fresh, **values)
    print(closing_words(run, build_report(run)))
    return 0


def do_report(arguments: argparse.Namespace) -> int:
    """Write report.html of a run."""
    from kit import workspace
    from kit.report import build_report

    print(build_report(workspace.open_run(arguments.run)))
    return 0


def do_compare(arguments: argparse.Namespace) -> int:
    """Write one page of several runs."""
    from kit.compare import build_comparison

    print(build_comparison(arguments.runs))
    return 0


def do_cost(arguments: argparse.Namespace) -> int:
    """Print the table of calls."""
    from kit import workspace
    from kit.llm import call_table

    print(call_table(workspace.open_run(arguments.run)))
    return 0


def do_trace(arguments: argparse.Namespace) -> int:
    """List the calls, or print one with its prompt and its reply."""
    from kit import workspace
    from kit.llm import trace

    if arguments.run.isdigit() and not workspace.run_path(arguments.run).exists():
        arguments.run, arguments.number = "", int(arguments.run)  # `kit trace 7`: of the latest run
    calls = trace(workspace.open_run(arguments.run))
    if arguments.number is None:
        print("\n".join(f"{call.number:4}  {call.title:60} {call.took}" for call in calls))
        return 0
    if not 1 <= arguments.number <= len(calls):
        raise KitError(f"There is no call {arguments.number}; the run has 1 to {len(calls)}.")
    print(calls[arguments.number - 1])
    return 0


def do_runs(arguments: argparse.Namespace) -> int:
    """List the runs, the latest first."""
    from kit import workspace

    for run in workspace.all_runs():
        about = run.about
        chosen = ", ".join(record.idea.Name for record in run.archive().chosen())
        print(f"{run.name:40} {about.get('template', ''):16} {about.get('model', ''):28} {chosen}")
    return 0


def do_new_template(arguments: argparse.Namespace) -> int:
    """Make a template, and say what to do next."""
    from kit import newtemplate

    name, fits, given = arguments.name, True, arguments
    if given.origin:
        fits = newtemplate.adopt(name, given.origin, given.model, script=given.script, timeout=given.timeout,
                                 level=given.sandbox, budget=given.budget)  # fmt: skip
    else:
        newtemplate.make(name)
    print(f"\ntemplates/{name} is there{'' if fits else ' and does not fit yet'}.")
    print(newtemplate.what_next(name, given.model, adopted=bool(given.origin)))
    return 0 if fits else 1


def do_check(arguments: argparse.Namespace) -> int:
    """Look over a template, one thing at a time."""
    from kit import check, doctor

    fits = True
    for finding in check.look_over(arguments.template, arguments.preset, arguments.timeout, arguments.sandbox):
        print(doctor.Findings([finding]), flush=True)
        fits &= finding.ok or not finding.needed
    print(f"\n{arguments.template} {'fits' if fits else 'does not fit yet'}.")
    return 0 if fits else 1


def do_doctor(arguments: argparse.Namespace) -> int:
    """Say what is there and what is missing."""
    from kit import doctor

    return doctor.main(["check"])


if __name__ == "__main__":
    sys.exit(main())
