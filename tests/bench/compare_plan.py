"""What ./run compare measures: the sweeps and their points, for a full run and for --quick."""
from compare_runs import Point

# sweep: (title, what x is, variants that take part; None: all)
DISTRIBUTED = ("2pc", "2pc-textbook", "saga", "saga-textbook")
SWEEPS = {
    "clients": ("Clients", "clients, each sending when it has its answer", None),
    "zipf": ("Hot products", "Zipf exponent over 1000 products (0: all alike, 2: two of three orders want the first)",
             None),
    "refused": ("Refused orders", "percent of orders that must be refused (stock, funds, card: a third each)", None),
    "delay": ("A slow participant", "milliseconds that each call of the payment service takes longer", DISTRIBUTED),
    "rate": ("Offered rate", "orders offered a second (open loop)", DISTRIBUTED),
    "commit_delay": ("The commit delay of a real disk", "milliseconds that each flush of a server's log takes longer",
                     None),
    "failures": ("Failures", "what fails in mid-run", ("2pc", "saga")),
}
# Far enough apart to be told from the noise of a disk whose own flush takes a millisecond or three.
COMMIT_DELAYS_MS = (0, 2, 8)
FAILURES = (("coordinator", "coordinator killed, started again after 0.5 s", 0.5),
            ("database", "payment database killed, started again after 1 s", 1.0),
            ("cut-off", "payment database cut off for 2 s (SIGSTOP)", 2.0))


def failures(kinds, seconds, rate):
    return [Point("failures", number, label, connections=256, rate=rate, fault=kind, fault_seconds=length,
                  seconds=seconds)
            for number, (kind, label, length) in enumerate(FAILURES) if kind in kinds]


def quick():
    one = {"database_clients": (32,)}
    return [Point("zipf", 0, "0", connections=64, **one), Point("zipf", 2, "2", connections=64, zipf=2, **one),
            Point("refused", 30, "30 %", connections=64, refused=0.3, variants=("2pc", "saga")),
            *failures(("coordinator",), 3, 100)]


def full():
    points = []
    for clients in (1, 8, 32, 128, 256):
        points.append(Point("clients", clients, str(clients), connections=clients,
                            database_clients=(clients,) if clients < 32 else (16, 32, 64)))
    for exponent in (0, 0.8, 1.2, 2):
        points.append(Point("zipf", exponent, str(exponent), zipf=exponent))
    for percent in (0, 10, 30, 50):
        points.append(Point("refused", percent, f"{percent} %", refused=percent / 100))
    for delay in (0, 10, 50):
        points.append(Point("delay", delay, f"{delay} ms", delay=("payment", delay) if delay else ()))
    # Beyond what a variant can do its queue grows for as long as the run lasts: one such point shows it.
    for rate, variants in ((100, ()), (200, ()), (500, ("2pc", "saga")), (1000, ("2pc", "saga")), (2000, ("2pc",)),
                           (4000, ("2pc",))):
        points.append(Point("rate", rate, str(rate), connections=512, rate=rate, variants=variants))
    for delay in COMMIT_DELAYS_MS:
        points.append(Point("commit_delay", delay, f"{delay} ms", commit_delay_us=1000 * delay))
    return points + failures([kind for kind, _, _ in FAILURES], 12, 300)


# In a quick comparison the observer takes part where most is to be seen.
OBSERVED_QUICKLY = ("refused",)


def variants_of(point, names):
    allowed = point.variants or SWEEPS[point.sweep][2]
    return [name for name in names if allowed is None or name in allowed]


def select(points, sweeps, variants, all_variants, places=None):
    """The points at which something is measured. `sweeps`, `variants`, `places` (values of what is swept): as asked for
    by name; None: all. Raises
    ValueError, which says what selects nothing and what there is: a name that is measured nowhere is a
    mistake, also when other names beside it are measured."""
    there = list(dict.fromkeys(point.sweep for point in points))
    for option, asked, known in (("--sweeps", sweeps, SWEEPS), ("--variants", variants, all_variants)):
        for name in asked or ():
            if name not in known:
                raise ValueError(f"{option}: there is no '{name}'; there are {', '.join(known)}")
            if asked.count(name) > 1:
                raise ValueError(f"{option}: '{name}' stands there twice")
    for name in sweeps or ():
        if name not in there:
            raise ValueError(f"--sweeps {name} selects nothing here: this comparison has {', '.join(there)}")
    taking_part = list(variants or all_variants)
    chosen = [point for point in points if (sweeps is None or point.sweep in sweeps) and variants_of(point, taking_part)]
    for name in sweeps or ():
        if not any(point.sweep == name for point in chosen):
            could = list(dict.fromkeys(v for point in points if point.sweep == name
                                       for v in variants_of(point, list(all_variants))))
            raise ValueError(f"--sweeps {name} selects nothing with --variants {','.join(taking_part)}: "
                             f"it is measured for {', '.join(could)}")
    for name in variants or ():
        if not any(variants_of(point, [name]) for point in chosen):
            could = [sweep for sweep in there if any(point.sweep == sweep and variants_of(point, [name])
                                                     for point in points)]
            raise ValueError(f"--variants {name} selects nothing with --sweeps {','.join(sweeps or there)}: "
                             f"it is measured in {', '.join(could)}")
    return chosen if places is None else select_places(chosen, places, sweeps or (), variants or ())


def select_places(points, places, sweeps, variants):
    """Those of the points at these values. Raises ValueError like select()."""
    there = list(dict.fromkeys(f"{point.x:g}" for point in points))
    for place in places:
        if place not in there:
            raise ValueError(f"--points: '{place}' selects nothing; in "
                             f"{', '.join(dict.fromkeys(point.sweep for point in points))} there are {', '.join(there)}")
    chosen = [point for point in points if f"{point.x:g}" in places]
    for option, names, has in (("--sweeps", sweeps, lambda point, name: point.sweep == name),
                               ("--variants", variants, lambda point, name: variants_of(point, [name]))):
        for name in names:
            if not any(has(point, name) for point in chosen):
                raise ValueError(f"{option} {name} selects nothing with --points {','.join(places)}")
    return chosen
