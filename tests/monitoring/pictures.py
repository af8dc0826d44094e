"""One picture for a dashboard: its panels' data of a run, drawn by gnuplot as SVG, where the panels stand. The
colours are those that the colour-blind tell apart (Okabe and Ito)."""
import re
import subprocess

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#999999")
SERIES_MAX = len(COLOURS)  # of one panel; the largest ones
COLUMN, ROW, FOOT = 48, 30, 30  # what one column and one row of Grafana's grid are here, and the last line
KEY = "outside bottom center horizontal maxrows 3 samplen 1 font ',8'"
UNITS = {"ops": "1/s", "bytes": "B", "reqps": "1/s", "s": "s", "percentunit": "share", "none": ""}


def quoted(text):
    return "'" + text.replace("'", "''") + "'"


def legend(labels, pattern):
    return re.sub(r"\{\{\s*(\w+)\s*\}\}", lambda label: labels.get(label.group(1), ""), pattern).strip()


def not_cumulated(series):
    """Buckets of a histogram, each without those below it."""
    below, found = {}, []
    for name, points in sorted(series, key=lambda one: float(one[0])):
        found.append((f"up to {name}", [(at, value - below.get(at, 0)) for at, value in points]))
        below = dict(points)
    return found


def series_of(panel, queries):
    """[(name, points)], the largest first."""
    series = [(legend(labels, target["legendFormat"]), points)
              for target, found in queries for labels, points in found]
    if panel["type"] == "heatmap":
        series = not_cumulated(series)
    return sorted(series, key=lambda one: -max(value for _, value in one[1]))[:SERIES_MAX]


def rows_of(points):
    """gnuplot's, one point a second; an empty row, which ends the line, where there was nothing to see."""
    rows, before = "", None
    for at, value in points:
        rows += "\n" if before is not None and at - before > 1.5 else ""
        rows += f"{at:.0f} {value:.4g}\n"
        before = at
    return rows


def plot(panel, series, length, parts, height):
    """gnuplot's commands for one panel. `parts`: when each began, drawn as dashed lines with its number."""
    unit = UNITS[panel["fieldConfig"]["defaults"]["unit"]]
    title = panel["title"] + (f" [{unit}]" if unit and panel["type"] != "heatmap" else "")
    place = panel["gridPos"]
    small = place["h"] < 6
    commands = (f"set origin {place['x'] / 24:.4f}, {1 - (place['y'] + place['h']) * ROW / height:.4f}\n"
                f"set size {place['w'] / 24:.4f}, {place['h'] * ROW / height:.4f}\n"
                f"set title {quoted(title)}\nset xrange [0:{length:.0f}]\nset yrange [0:*]\n"
                f"unset arrow\nunset label\nset xtics {20 if small else 10}\n"
                + ("unset key\n" if small else f"set key {KEY}\nset ytics autofreq\n"))
    if small:
        highest = max((value for _, points in series for _, value in points), default=1) or 1
        commands += f"set ytics ('0' 0, '{highest:.3g}' {highest:g})\n"
    for number, began in enumerate(parts, 1):
        commands += (f"set arrow from {began:.0f}, graph 0 to {began:.0f}, graph 1 nohead linecolor '#999999'"
                     " dashtype 2\n")
        if not small:
            commands += f"set label '{number}' at {began:.0f}, graph 1.03 center font ',8' textcolor '#777777'\n"
    blocks, plots = "", []
    for index, (name, points) in enumerate(series):
        block = f"$d{panel['id']}_{index}"
        blocks += f"{block} << EOD\n{rows_of(points)}EOD\n"
        plots.append(f"{block} using 1:2 with lines title {quoted(name[:34])} linewidth 1.5"
                     f" linecolor rgb '{COLOURS[index]}'")
    return blocks + commands + "plot " + (", ".join(plots) if plots else "-1 title 'no data'") + "\n"


def smaller(svg):
    """Without what gnuplot says again for each stroke, or nobody sees: half of it is left."""
    svg = re.sub(r"<title>.*?</desc>|<title>[^<]*</title>|<!--.*?-->|<defs>.*?</defs>", "", svg, flags=re.DOTALL)
    svg = re.sub(r' (?:fill="none"|color="[^"]*"|stroke="(?:currentColor|none)"|stroke-line(?:cap|join)="\w+"'
                 r'|font-family="[^"]*")', "", svg)
    svg = re.sub(r"(?<= d=')[^']*", lambda path: re.sub(r"(\d+)\.\d+", r"\1", path.group()), svg)
    before = None
    while before != svg:
        before, svg = svg, re.sub(r"<g\b[^>]*>\s*</g>", "", svg)
    svg = re.sub(r"\s+", " ", svg).replace("> <", ">\n<").replace(" '/>", "'/>").strip()
    return svg.replace("<svg", '<svg fill="none" font-family="sans-serif"', 1) + "\n"


def dashboard(panels, drawn, parts, length):
    """The SVG. `drawn`: {panel id: [(query, what it answered)]}; `parts`: {what happened: when}, in seconds."""
    height = max(panel["gridPos"]["y"] + panel["gridPos"]["h"] for panel in panels) * ROW + FOOT
    head = (f"set terminal svg size {24 * COLUMN},{height} noenhanced font 'sans-serif,10' background '#ffffff'\n"
            "set encoding utf8\nset border 3 linewidth 0.5\nset tics nomirror\nset multiplot\n")
    body = "".join(plot(panel, series_of(panel, drawn[panel["id"]]), length, parts.values(), height)
                   for panel in panels if panel["type"] != "row")
    told = "Seconds from the start. " + " · ".join(f"{number}: {part}" for number, part in enumerate(parts, 1))
    foot = ("unset key\nunset border\nunset tics\nunset title\nunset arrow\nunset label\nset origin 0, 0\n"
            "set size 1, 1\n"
            f"set label {quoted(told)} at screen 0.01, screen {FOOT / 3 / height:.4f} font ',9'\n")
    for panel in panels:
        if panel["type"] == "row":
            at = 1 - (panel["gridPos"]["y"] + 0.7) * ROW / height
            foot += f"set label {quoted(panel['title'])} at screen 0.01, screen {at:.4f} font ',12'\n"
    done = subprocess.run(["gnuplot"], input=head + body + foot + "set yrange [0:1]\nplot -1\nunset multiplot\n",
                          capture_output=True, text=True, timeout=60, check=False)
    if done.returncode != 0 or "<svg" not in done.stdout:
        raise RuntimeError(f"gnuplot failed: {done.stderr.strip()}")
    return smaller(done.stdout)
