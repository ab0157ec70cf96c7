"""The program `onlineflows`: its verbs and options, and the one place where errors become codes.

Each verb reads its configuration, then hands it to the module of its own name in this package,
which is imported only then: a producer never loads torch, and ``--help`` loads nothing.
"""

import enum
import logging
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated

import typer

import onlineflows
from onlineflows.cli.config import Config, load_config
from onlineflows.cli.exits import BAD_INPUT, DONE, FAILED, exit_code
from onlineflows.cli.logs import configure_logging
from onlineflows.cli.output import Output
from onlineflows.errors import ConfigError, OnlineFlowsError
from onlineflows.online.rundir import RunDirectory, Start
from streams.errors import StreamError

logger = logging.getLogger(__name__)

app = typer.Typer(
    help="Learn the density of a collider's trigger stream while the data fly by.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

EVENTS_FILE = (
    "Events: a TOML file with a [source], an LHCO feature file (.h5), or a table with the schema's "
    "own columns (.npy, .h5, .parquet, .root)."
)


class Bench(enum.StrEnum):
    """What can be measured."""

    TRAIN = "train"
    LOGPROB = "logprob"
    SAMPLE = "sample"
    E2E = "e2e"
    SCALING = "scaling"
    MODELS = "models"
    QUALITY = "quality"
    SEARCH = "search"
    COMPRESSION = "compression"
    AMPLIFICATION = "amplification"
    LIKENESS = "likeness"
    ABSORPTION = "absorption"
    COVERAGE = "coverage"
    CLOSURE = "closure"
    DECORRELATION = "decorrelation"
    TAN = "tan"
    FETA = "feta"


class Preset(enum.StrEnum):
    """How much a validation does."""

    QUICK = "quick"
    FULL = "full"


STUDIES = {
    Bench.COMPRESSION,
    Bench.AMPLIFICATION,
    Bench.LIKENESS,
    Bench.ABSORPTION,
    Bench.COVERAGE,
    Bench.CLOSURE,
}
"""What trains many models on the stand-in, and is resumable."""

NO_PAGE = "live.address="
"""Said to processes that are started for a command: there is one page, beside that."""

ConfigPath = Annotated[
    Path | None, typer.Argument(metavar="CONFIG", help="TOML file; defaults alone without one.")
]
SnapshotPath = Annotated[
    Path,
    typer.Argument(
        metavar="SNAPSHOT", help="A snapshot, or a run directory for the latest one in it."
    ),
]
DataPath = Annotated[
    Path | None,
    typer.Option("--data", metavar="FILE", help=EVENTS_FILE),
]
Overrides = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="SECTION.KEY=VALUE", help="Change one setting; may be given many times."
    ),
]
Resume = Annotated[
    bool, typer.Option("--resume", help="Go on from the run's checkpoint, as if never stopped.")
]
Overwrite = Annotated[
    bool, typer.Option("--overwrite", help="Delete what an earlier run of this name left.")
]
Draws = Annotated[int, typer.Option("--events", "-n", min=1, help="How many events to draw.")]
Seed = Annotated[int, typer.Option("--seed", min=0, help="Seed of the draw.")]
ModelName = Annotated[
    str | None,
    typer.Option("--model", metavar="NAME", help="Which model of the snapshot; the first if none."),
]
Replica = Annotated[
    str,
    typer.Option(
        "--replica", metavar="K|all", help="0: the central density; K: a replica; all: their mean."
    ),
]
Continue = Annotated[
    bool,
    typer.Option(
        "--continue",
        help="Go on from the checkpoint if there is one, else begin; for service managers.",
    ),
]
Restarts = Annotated[
    int,
    typer.Option(
        "--restarts", min=0, help="Start again, after a while, up to so often per hour, if killed."
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress; log warnings only.")]
Live = Annotated[
    bool, typer.Option("--live", help="Serve the run's live page, too, and say where it is.")
]
LogJson = Annotated[bool, typer.Option("--log-json", help="Write log records as JSON lines.")]


def _version(wanted: bool) -> None:
    if wanted:
        print(f"onlineflows {onlineflows.__version__}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Learn the density of a collider's trigger stream while the data fly by."""


@app.command(epilog="Example: onlineflows run configs/demo.toml --set source.n_events=200000")
def run(
    config: ConfigPath = None,
    overrides: Overrides = None,
    resume: Resume = False,
    overwrite: Overwrite = False,
    go_on: Continue = False,
    restarts: Restarts = 0,
    live: Live = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
    log_json: LogJson = False,
) -> None:
    """Replay and train on this machine: both daemons in one command."""
    output = _speak(as_json, quiet, log_json)
    start = _start(resume, overwrite, go_on)
    loaded = load_config(config, overrides or ())

    def body() -> int:
        children = [*(overrides or ()), NO_PAGE]
        if loaded.wire.lanes > 1:
            from onlineflows.cli.run_lanes import run_lanes

            words = _words(config, children)
            return run_lanes(loaded, words, output, start=start, restarts=restarts)
        if restarts:
            return _supervise("run", config, children, output, start, restarts)
        from onlineflows.cli.run import run as both

        return both(loaded, output, start=start)

    raise typer.Exit(_beside_page(loaded, output, live, body))


@app.command(epilog="Example: onlineflows replay configs/lhco.toml --set pacing.arrivals=poisson")
def replay(
    config: ConfigPath = None,
    overrides: Overrides = None,
    live: Live = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
    log_json: LogJson = False,
) -> None:
    """Send events from files or from the stand-in: the producer daemon."""
    output = _speak(as_json, quiet, log_json)
    loaded = load_config(config, overrides or ())
    from onlineflows.cli.replay import replay as body

    raise typer.Exit(_beside_page(loaded, output, live, lambda: body(loaded, output)))


@app.command(epilog="Example: onlineflows train configs/lhco.toml --resume")
def train(
    config: ConfigPath = None,
    lane: Annotated[
        int | None,
        typer.Option("--lane", min=0, help="Which of the wire.lanes consumers this is, from 0."),
    ] = None,
    overrides: Overrides = None,
    resume: Resume = False,
    overwrite: Overwrite = False,
    go_on: Continue = False,
    restarts: Restarts = 0,
    live: Live = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
    log_json: LogJson = False,
) -> None:
    """Learn from the events that a producer sends: the consumer daemon."""
    output = _speak(as_json, quiet, log_json)
    if lane is not None:
        overrides = [*(overrides or ()), f"wire.lane={lane}"]
    start = _start(resume, overwrite, go_on)
    loaded = load_config(config, overrides or ())

    def body() -> int:
        if restarts:
            children = [*(overrides or ()), NO_PAGE]
            return _supervise("train", config, children, output, start, restarts)
        from onlineflows.cli.train import train as learner

        return learner(loaded, output, start=start)

    raise typer.Exit(_beside_page(loaded, output, live, body))


@app.command(epilog="Example: onlineflows look configs/demo.toml --events 2000")
def look(
    config: Annotated[
        Path | None,
        typer.Argument(metavar="CONFIG", help="TOML file; or a ROOT file, to see its branches."),
    ] = None,
    events: Annotated[
        int, typer.Option("--events", "-n", min=1, help="How many events to read.")
    ] = 10_000,
    overrides: Overrides = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Show what a source would send, from its first events: features, ranges, losses."""
    output = _speak(as_json, quiet)
    from onlineflows.cli.look import look as body
    from onlineflows.cli.look import look_into

    if config is not None and config.suffix == ".root":
        raise typer.Exit(look_into(config, output))
    raise typer.Exit(body(load_config(config, overrides or ()), output, n=events))


@app.command(epilog="Example: onlineflows inspect runs/demo --figure demo.pdf")
def inspect(
    snapshot: SnapshotPath,
    data: DataPath = None,
    figure: Annotated[
        Path | None,
        typer.Option("--figure", metavar="FILE", help="Draw one page into this PNG or PDF."),
    ] = None,
    html: Annotated[
        Path | None,
        typer.Option("--html", metavar="FILE", help="Write a page that needs nothing else."),
    ] = None,
    opens: Annotated[
        bool, typer.Option("--open", help="Show that page in the browser; writes it if needed.")
    ] = False,
    verify: Annotated[
        str | None,
        typer.Option(
            "--verify",
            metavar="KEY",
            help="Only check the signature, with a public key: file or digits. Exit code 1 where "
            "the snapshot isn't genuine.",
        ),
    ] = None,
    overrides: Overrides = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Show what a snapshot holds, and draw its density."""
    output = _speak(as_json, quiet)
    if verify is not None:
        from onlineflows.cli.verify import verify as check

        raise typer.Exit(check(snapshot, verify, output))
    from onlineflows.cli.inspect import Drawn
    from onlineflows.cli.inspect import inspect as body

    drawn = Drawn(figure, html, opens, data, overrides or ())
    raise typer.Exit(body(snapshot, output, drawn))


@app.command(epilog="Example: onlineflows diff runs/a runs/b --figure diff.pdf")
def diff(
    a: Annotated[
        Path, typer.Argument(metavar="A", help="A snapshot, or a run directory: the older one.")
    ],
    b: Annotated[Path, typer.Argument(metavar="B", help="Another one, over the same events.")],
    figure: Annotated[
        Path | None,
        typer.Option("--figure", metavar="FILE", help="Draw both into this PNG or PDF."),
    ] = None,
    model: ModelName = None,
    events: Annotated[
        int, typer.Option("--events", "-n", min=1, help="How many events to draw from each.")
    ] = 50_000,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Seed of the draws.")] = 1,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Compare two snapshots: what changed, and how far apart their densities are."""
    output = _speak(as_json, quiet)
    from onlineflows.cli.diff import diff as body

    raise typer.Exit(body(a, b, output, figure=figure, model=model, n_samples=events, seed=seed))


@app.command(epilog="Example: onlineflows sample runs/demo events.h5 --events 100000")
def sample(
    snapshot: SnapshotPath,
    target: Annotated[
        Path, typer.Argument(metavar="FILE", help="What to write: .npy, .h5, .parquet or .root.")
    ],
    events: Draws = 100_000,
    seed: Seed = 1,
    model: ModelName = None,
    replica: Replica = "0",
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Draw events from a snapshot into a file, in the schema's units."""
    output = _speak(as_json, quiet)
    from onlineflows.cli.sample import sample as body

    raise typer.Exit(
        body(snapshot, target, output, n_events=events, seed=seed, model=model, replica=replica)
    )


@app.command(epilog="Example: onlineflows export runs/demo demo.onnx")
def export(
    snapshot: SnapshotPath,
    target: Annotated[
        Path,
        typer.Argument(
            metavar="FILE",
            help="What to write: .onnx (log p, and beside it sampling), .md (a model card), or "
            "samples as in `sample`.",
        ),
    ],
    onnx: Annotated[bool, typer.Option("--onnx", help="ONNX, whatever FILE ends in.")] = False,
    sk_cathode: Annotated[
        bool,
        typer.Option("--sk-cathode", help="FILE is a folder for samples that sk_cathode reads."),
    ] = False,
    signal_region: Annotated[
        tuple[float, float] | None,
        typer.Option(
            "--signal-region",
            metavar="LOW HIGH",
            help="Of --sk-cathode; that of the snapshot's configuration without one.",
        ),
    ] = None,
    events: Draws = 100_000,
    seed: Seed = 1,
    model: ModelName = None,
    replica: Replica = "0",
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Write a snapshot for other programs: ONNX, a model card, files of samples."""
    output = _speak(as_json, quiet)
    from onlineflows.cli.export import Wanted
    from onlineflows.cli.export import export as body

    wanted = Wanted(
        n_events=events,
        seed=seed,
        model=model,
        replica=replica,
        as_onnx=onnx,
        as_sk_cathode=sk_cathode,
        signal_region=signal_region,
    )
    raise typer.Exit(body(snapshot, target, output, wanted))


@app.command(epilog="Example: onlineflows score runs/lhco events.h5 --output log_prob.npy")
def score(
    snapshot: SnapshotPath,
    data: Annotated[Path, typer.Argument(metavar="FILE", help=EVENTS_FILE)],
    target: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE", help="Write each event's log_prob (.npy)."),
    ] = None,
    model: ModelName = None,
    replica: Replica = "0",
    overrides: Overrides = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Evaluate a snapshot's density for the events in a file: log_prob in nats."""
    output = _speak(as_json, quiet)
    from onlineflows.cli.score import score as body

    raise typer.Exit(
        body(
            snapshot,
            data,
            output,
            target=target,
            overrides=overrides or (),
            model=model,
            replica=replica,
        )
    )


@app.command(epilog="Example: onlineflows validate runs/lhco --data configs/lhco.toml")
def validate(
    snapshot: SnapshotPath,
    data: DataPath = None,
    target: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", metavar="FOLDER", help="Write the report here, not beside the run."
        ),
    ] = None,
    methods: Annotated[
        list[str] | None,
        typer.Option("--method", metavar="NAME", help="Search with this, too; may be repeated."),
    ] = None,
    compression: Annotated[
        bool,
        typer.Option("--compression", help="Measure how many stored events search as well."),
    ] = False,
    preset: Annotated[
        Preset, typer.Option("--preset", help="full: every method, closure and compression.")
    ] = Preset.QUICK,
    jobs: Annotated[int, typer.Option("--jobs", min=1, help="Processes.")] = 1,
    overrides: Overrides = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Search for the signal on data and on samples, and compare: the report. Goes on if stopped."""
    output = _speak(as_json, quiet)
    from onlineflows.cli.validate import validate as body
    from onlineflows.offline.plan import Wanted

    wanted = Wanted(preset.value, tuple(methods or ()), compression)
    raise typer.Exit(
        body(
            snapshot,
            output,
            data=data,
            target=target,
            wanted=wanted,
            jobs=jobs,
            overrides=overrides or (),
        )
    )


@app.command(epilog="Example: onlineflows bench train --quick")
def bench(
    name: Annotated[Bench, typer.Argument(metavar="BENCH", help="One of: " + ", ".join(Bench))],
    quick: Annotated[
        bool, typer.Option("--quick", help="Tiny sizes: shows that everything runs.")
    ] = False,
    full: Annotated[bool, typer.Option("--full", help="The longest streams, too.")] = False,
    dataset: Annotated[
        str,
        typer.Option(
            "--dataset",
            metavar="standin|FILE",
            help="Of search, tan, feta: the stand-in, or LHCO features with labels.",
        ),
    ] = "standin",
    reference: Annotated[
        str | None,
        typer.Option(
            "--reference",
            metavar="standin|FILE",
            help="Of feta: simulated events, to be moved to those of --dataset.",
        ),
    ] = None,
    config: Annotated[
        Path,
        typer.Option("--config", metavar="FILE", help="Of search: the models that are trained."),
    ] = Path("configs/search.toml"),
    target: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", metavar="FILE", help="Of a study: its record; resumed if it exists."
        ),
    ] = None,
    jobs: Annotated[int, typer.Option("--jobs", min=1, help="Of a study: processes.")] = 1,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Measure speed and quality on this machine, or study what a snapshot finds."""
    output = _speak(as_json, quiet)
    if quick and full:
        raise ConfigError("expected --quick or --full; got both: choose one")
    if name in STUDIES:
        from onlineflows.cli.bench_studies import study

        raise typer.Exit(study(name.value, output, quick=quick, jobs=jobs, target=target))
    if name in (Bench.SEARCH, Bench.DECORRELATION):
        from onlineflows.cli.bench_search import search_study

        raise typer.Exit(
            search_study(
                output,
                name=name.value,
                quick=quick,
                jobs=jobs,
                target=target,
                dataset=dataset,
                config_path=config,
            )
        )
    if name is Bench.TAN:
        from onlineflows.cli.bench_files import tan_study

        raise typer.Exit(tan_study(output, quick=quick, jobs=jobs, target=target, dataset=dataset))
    if name is Bench.FETA:
        from onlineflows.cli.bench_files import feta_study

        raise typer.Exit(
            feta_study(
                output,
                quick=quick,
                jobs=jobs,
                target=target,
                dataset=dataset,
                reference=reference,
            )
        )
    from onlineflows.cli.bench import bench as body

    raise typer.Exit(body(name.value, output, quick=quick, full=full))


@app.command(epilog="Example: onlineflows chaos --rounds 3 --fault consumer_kill")
def chaos(
    rounds: Annotated[int, typer.Option("--rounds", min=1, help="Rounds of each fault.")] = 3,
    seed: Annotated[
        int, typer.Option("--seed", min=0, help="Decides every random moment and place.")
    ] = 1,
    faults: Annotated[
        list[str] | None,
        typer.Option("--fault", metavar="NAME", help="Only this fault; may be given many times."),
    ] = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Break real daemons on purpose, and look whether every event is accounted for."""
    output = _speak(as_json, quiet)
    from onlineflows.cli.chaos import chaos as body

    raise typer.Exit(body(output, rounds=rounds, seed=seed, faults=faults or ()))


keys = typer.Typer(no_args_is_help=True, rich_markup_mode=None)
app.add_typer(
    keys,
    name="keys",
    help="Make and show keys: for the wire between machines, and to sign snapshots.",
    epilog="Example: onlineflows keys make producer",
)
KeyName = Annotated[str, typer.Argument(metavar="NAME", help="Name of the pair's two files.")]


@keys.command(name="make", epilog="Example: onlineflows keys make producer --folder keys")
def keys_make(
    name: KeyName,
    folder: Annotated[
        Path, typer.Option("--folder", metavar="FOLDER", help="Where to put them.")
    ] = Path("keys"),
    signing: Annotated[
        bool, typer.Option("--signing", help="For signatures of snapshots, not for the wire.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Make a pair of keys: NAME.secret, which only you can read, and NAME.public."""
    output = _speak(as_json, quiet=False)
    from onlineflows.cli.keys import make as body

    raise typer.Exit(body(name, folder, output, signing=signing))


@keys.command(name="show", epilog="Example: onlineflows keys show keys/producer.public")
def keys_show(
    path: Annotated[Path, typer.Argument(metavar="FILE", help="A key, or an allow-list.")],
    as_json: AsJson = False,
) -> None:
    """Print the public keys in a file."""
    output = _speak(as_json, quiet=False)
    from onlineflows.cli.keys import show as body

    raise typer.Exit(body(path, output))


@keys.command(name="allow", epilog="Example: onlineflows keys allow keys/allowed consumer.public")
def keys_allow(
    path: Annotated[Path, typer.Argument(metavar="LIST", help="The producer's allow-list.")],
    key: Annotated[
        str, typer.Argument(metavar="KEY", help="A consumer's public key: file or digits.")
    ],
    name: Annotated[
        str, typer.Option("--name", help="Whose key it is; that of the file without one.")
    ] = "",
    as_json: AsJson = False,
) -> None:
    """Admit a consumer: put its public key on a producer's allow-list."""
    output = _speak(as_json, quiet=False)
    from onlineflows.cli.keys import admit as body

    raise typer.Exit(body(path, key, name, output))


data = typer.Typer(no_args_is_help=True, rich_markup_mode=None)
app.add_typer(
    data,
    name="data",
    help="Public files of events: list, fetch and verify them; make features of particles.",
    epilog="Example: onlineflows data fetch lhco-features",
)
Server = Annotated[
    str, typer.Option("--server", metavar="URL", help="A mirror with Zenodo's paths.")
]


@data.command(name="list", epilog="Example: onlineflows data list --json")
def data_list(as_json: AsJson = False) -> None:
    """Show the public files that are known by name."""
    output = _speak(as_json, quiet=False)
    from onlineflows.cli.data import show_catalogue as body

    raise typer.Exit(body(output))


@data.command(name="fetch", epilog="Example: onlineflows data fetch lhco-features --folder files")
def data_fetch(
    names: Annotated[list[str], typer.Argument(metavar="NAME", help="As in 'data list'.")],
    folder: Annotated[
        Path, typer.Option("--folder", metavar="FOLDER", help="Where to put the files.")
    ] = Path(),
    server: Server = "https://zenodo.org",
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace a file that isn't the published one.")
    ] = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Fetch public files, going on where an earlier call stopped; compare their checksums."""
    output = _speak(as_json, quiet)
    from onlineflows.cli.data import fetch_files as body

    raise typer.Exit(body(names, output, folder=folder, server=server, overwrite=overwrite))


@data.command(name="verify", epilog="Example: onlineflows data verify files/*.h5")
def data_verify(
    paths: Annotated[list[Path], typer.Argument(metavar="FILE", help="Files of events.")],
    offline: Annotated[
        bool, typer.Option("--offline", help="Don't ask Zenodo for checksums that aren't known.")
    ] = False,
    server: Server = "https://zenodo.org",
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Say what files are: checksum, layout, events. Exit code 1 if one isn't what it should be."""
    output = _speak(as_json, quiet)
    from onlineflows.cli.data import verify_files as body

    raise typer.Exit(body(paths, output, server=server, offline=offline))


@data.command(
    name="convert", epilog="Example: onlineflows data convert particles.h5 features.h5 --jobs 4"
)
def data_convert(
    particles: Annotated[
        Path, typer.Argument(metavar="PARTICLES", help="A file of 700 x (pT, eta, phi) per event.")
    ],
    features: Annotated[
        Path, typer.Argument(metavar="FEATURES", help="The feature file to write (.h5).")
    ],
    jobs: Annotated[
        int | None,
        typer.Option("--jobs", min=1, help="Processes; as many as there are CPUs if not given."),
    ] = None,
    key: Annotated[
        str, typer.Option("--key", help="The frame's name in the particle file.")
    ] = "df",
    jet_radius: Annotated[
        float, typer.Option("--jet-radius", min=0.01, help="Radius of the anti-kT jets.")
    ] = 1.0,
    min_pt: Annotated[
        float,
        typer.Option("--min-leading-pt", min=0.0, help="GeV: softer events are left out."),
    ] = 1200.0,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace an existing feature file.")
    ] = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Cluster the jets of a particle file once, into a feature file. Goes on if stopped."""
    output = _speak(as_json, quiet)
    from onlineflows.cli.data import convert_particles as body
    from replay.settings import LhcoParticlesConfig

    config = LhcoParticlesConfig("lhco_particles", str(particles), key, jet_radius, min_pt)
    raise typer.Exit(body(config, features, output, jobs=jobs, overwrite=overwrite))


@app.command(epilog="Example: onlineflows doctor")
def doctor(as_json: AsJson = False) -> None:
    """Print what this installation would use: versions, processor, engine."""
    from onlineflows.cli.doctor import doctor as body

    raise typer.Exit(body(_speak(as_json, quiet=False)))


@app.command(epilog="Example: onlineflows health runs/demo")
def health(
    directory: Annotated[Path, typer.Argument(metavar="RUN", help="A run directory.")],
    max_age_s: Annotated[
        float,
        typer.Option("--max-age", min=0.0, help="Seconds after which a daemon is taken dead."),
    ] = 30.0,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Say how a run's daemons are: exit code 0 if all are well, 1 if one hangs, died or failed."""
    output = _speak(as_json, quiet)
    from onlineflows.cli.health import health as body

    raise typer.Exit(body(directory, output, max_age_s=max_age_s))


@app.command(
    epilog="Example: onlineflows ctl runs/demo set-rate 50000",
    context_settings={"ignore_unknown_options": True},  # a number may be negative, and is refused
)
def ctl(
    directory: Annotated[Path, typer.Argument(metavar="RUN", help="A run directory.")],
    verb: Annotated[
        str,
        typer.Argument(
            metavar="VERB",
            help="status, pause, resume, step [BATCHES], burst EVENTS, seek EVENT, "
            "set-rate HZ|asap, snapshot-now, stop.",
        ),
    ],
    amount: Annotated[
        str | None, typer.Argument(metavar="[NUMBER]", help="Batches, events, or events/s.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Drive the daemons of a run on this machine, or ask how they are."""
    output = _speak(as_json, quiet=False)
    from onlineflows.cli.ctl import ctl as body

    raise typer.Exit(body(directory, verb, amount, output))


@app.command(name="live", epilog="Example: onlineflows live runs/demo --open")
def live_page(
    directory: Annotated[
        Path, typer.Argument(metavar="RUN", help="A run directory; its daemons may come later.")
    ],
    host: Annotated[
        str, typer.Option("--host", help="Where to listen; loopback unless --expose.")
    ] = "127.0.0.1",
    port: Annotated[
        int | None,
        typer.Option("--port", min=0, max=65535, help="9464, or a free one if that is taken."),
    ] = None,
    expose: Annotated[
        bool,
        typer.Option(
            "--expose",
            help="Allow a host that other machines can reach: everybody there sees the run, "
            "because nobody is asked who they are.",
        ),
    ] = False,
    opens: Annotated[bool, typer.Option("--open", help="Open the page in a browser.")] = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Show a run in the browser while it lasts, and its metrics to Prometheus. Changes nothing."""
    output = _speak(as_json, quiet)
    from onlineflows.cli.live import live as body

    raise typer.Exit(body(directory, output, host=host, port=port, expose=expose, opens=opens))


def _beside_page(config: Config, output: Output, live: bool, body: Callable[[], int]) -> int:
    """Runs a daemon, with the live page beside it where one is wanted."""
    if not (live or config.live.address):
        return body()
    from onlineflows.cli.live_process import beside_page

    return beside_page(config, output, live, body)


def _start(resume: bool, overwrite: bool, go_on: bool) -> Start:
    if resume + overwrite + go_on > 1:
        raise ConfigError(
            "expected one of --resume, --overwrite and --continue; got several: choose one"
        )
    return "resume" if resume else "overwrite" if overwrite else "continue" if go_on else "fresh"


def _words(config: Path | None, overrides: Sequence[str]) -> list[str]:
    """The words with which a command line names a configuration."""
    file = [] if config is None else [str(config)]
    return [*file, *(word for override in overrides for word in ("--set", override))]


def _supervise(
    verb: str,
    config: Path | None,
    overrides: Sequence[str],
    output: Output,
    start: Start,
    restarts: int,
) -> int:
    """Runs a verb in a process of its own, again and again if need be."""
    from onlineflows.cli.supervise import Supervisor

    flags = {"--json": output.as_json, "--quiet": output.quiet, "--log-json": output.log_json}
    command = [
        verb,
        *_words(config, overrides),
        *(flag for flag, is_on in flags.items() if is_on),
    ]
    first = [*command, *([] if start == "fresh" else [f"--{start}"])]
    directory = RunDirectory(load_config(config, overrides).directory)
    return Supervisor(
        first, [*command, "--continue"], ledger=directory.ledger, restarts=restarts
    ).run()


def _speak(as_json: bool, quiet: bool, log_json: bool = False) -> Output:
    configure_logging(as_json=log_json, quiet=quiet)
    return Output(as_json=as_json, quiet=quiet, log_json=log_json)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command; returns the exit code. Every error of the process ends here.

    Args:
        arguments: as after the program's name; None for those of this process.
    """
    try:
        app(args=None if arguments is None else list(arguments), prog_name="onlineflows")
    except SystemExit as end:
        # Anything beyond the three codes, such as the 130 of an interrupt, is a failed run.
        code = end.code or DONE
        return code if code in (DONE, FAILED, BAD_INPUT) and isinstance(code, int) else FAILED
    except (OnlineFlowsError, StreamError) as error:
        print("\n".join([f"error: {error}", *getattr(error, "__notes__", ())]), file=sys.stderr)
        return exit_code(error)
    except Exception:
        logger.exception("unexpected error: please report it, with the lines below")
        return FAILED
    return DONE


if __name__ == "__main__":
    sys.exit(main())
