"""Plots of ./run compare as SVG text, drawn by gnuplot: a palette that the colour-blind tell apart (Okabe and
Ito), with another point shape and dash for each variant, so that they also differ in black and white.
"""
import re
import subprocess

# variant: (colour, point type, dash type)
LOOKS = {"2pc": ("#0072B2", 7, 1), "2pc-textbook": ("#56B4E9", 6, 2), "saga": ("#D55E00", 5, 1),
         "saga-textbook": ("#E69F00", 4, 2), "one-database": ("#000000", 9, 4)}
ORDER = tuple(LOOKS)


def quoted(text):
    return "'" + text.replace("'", "''") + "'"


def draw(commands, name):
    """Runs gnuplot; the SVG element alone, its ids made different from every other plot's."""
    head = ("set terminal svg size 660,380 dynamic enhanced font 'sans-serif,13' background '#ffffff'\n"
            "set encoding utf8\nset border 3 linewidth 1\nset tics nomirror\n"
            "set grid ytics linewidth 0.5 linecolor '#cccccc'\nset key tmargin center horizontal\n")
    done = subprocess.run(["gnuplot"], input=head + commands, capture_output=True, text=True, timeout=60, check=False)
    if done.returncode != 0 or "<svg" not in done.stdout:
        raise RuntimeError(f"gnuplot failed: {done.stderr.strip()}")
    svg = done.stdout[done.stdout.index("<svg"):]
    svg = re.sub(r"\bid='([^']*)'|\bid=\"([^\"]*)\"", lambda m: f"id='{name}-{m.group(1) or m.group(2)}'", svg)
    svg = re.sub(r"<title>.*?</desc>", "", svg, count=1, flags=re.DOTALL)
    svg = re.sub(r"url\(#([^)]*)\)", rf"url(#{name}-\1)", svg)
    return re.sub(r"(xlink:href|href)=(['\"])#([^'\"]*)\2", rf"\1='#{name}-\3'", svg)


def lines(name, series, x_title, y_title, log_x=False):
    """series: {variant: [(x, median, low, high)]}."""
    commands = f"set xlabel {quoted(x_title)} noenhanced\nset ylabel {quoted(y_title)} noenhanced\n"
    commands += "set yrange [0:*]\n"
    ticks = sorted({x for points in series.values() for x, *_ in points})
    commands += "set xtics (" + ", ".join(f"'{x:g}' {x:g}" for x in ticks) + ")\n"
    if len(ticks) > 1:
        low, high = ticks[0], ticks[-1]
        edge = (high - low) * 0.04
        commands += "set logscale x 2\n" if log_x else ""
        commands += (f"set xrange [{low * 0.85:g}:{high * 1.18:g}]\n" if log_x
                     else f"set xrange [{low - edge:g}:{high + edge:g}]\n")
    else:
        commands += f"set xrange [{ticks[0] - 1:g}:{ticks[0] + 1:g}]\n"
    blocks, plots = "", []
    for number, variant in enumerate(v for v in ORDER if v in series):
        colour, point, dash = LOOKS[variant]
        blocks += f"$d{number} << EOD\n" + "".join(f"{x:g} {m:g} {lo:g} {hi:g}\n" for x, m, lo, hi in series[variant])
        blocks += "EOD\n"
        plots.append(f"$d{number} using 1:2:3:4 with yerrorlines title {quoted(variant)} noenhanced linecolor rgb"
                     f" '{colour}' linewidth 2 dashtype {dash} pointtype {point} pointsize 0.9")
    return draw(commands + blocks + "plot " + ", \\\n  ".join(plots) + "\n", name)


def timeline(name, series, fault, y_title):
    """series: {variant: [answers in each tenth of a second]}; fault: {variant: (begin, end)} in seconds."""
    commands = (f"set xlabel 'seconds from the start'\nset ylabel {quoted(y_title)} noenhanced\nset yrange [0:*]\n")
    begins, ends = zip(*fault.values())
    commands += (f"set object 1 rectangle from {min(begins):g}, graph 0 to {max(ends):g}, graph 1 behind"
                 " fillcolor rgb '#eeeeee' fillstyle solid noborder\n")
    blocks, plots = "", []
    for number, variant in enumerate(v for v in ORDER if v in series):
        colour, point, dash = LOOKS[variant]
        blocks += f"$d{number} << EOD\n" + "".join(f"{i / 10:g} {10 * n}\n" for i, n in enumerate(series[variant]))
        blocks += "EOD\n"
        plots.append(f"$d{number} using 1:2 with linespoints title {quoted(variant)} noenhanced"
                     f" linecolor rgb '{colour}' linewidth 1.5 dashtype {dash} pointtype {point} pointsize 0.5"
                     " pointinterval 3")
    return draw(commands + blocks + "plot " + ", \\\n  ".join(plots) + "\n", name)
