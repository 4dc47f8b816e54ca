"""Bar charts as SVG, readable on a light and on a dark page: the background is the page's."""
from xml.sax.saxutils import escape

WIDTH = 760
LEFT = 150
RIGHT = 90
BAR = 16
GAP = 3
TITLE = 34

STYLE = """
  text { font: 13px system-ui, sans-serif; fill: #24292f; }
  .title { font-weight: 600; }
  .head { font-size: 17px; font-weight: 600; }
  .fanal { fill: #d9480f; }
  .peer { fill: #8794a1; }
  .limit { fill: #c3ccd4; }
  @media (prefers-color-scheme: dark) {
    text { fill: #e6edf3; }
    .fanal { fill: #ff8c42; }
    .peer { fill: #7d8b99; }
    .limit { fill: #4a5561; }
  }
"""


def bars(heading, groups):
    """A chart of groups: (title, [(name, value, text)]), each drawn to a scale of its own."""
    parts = []
    y = 30
    parts.append('<text class="head" x="0" y="18">%s</text>' % escape(heading))
    for title, entries in groups:
        y += TITLE
        parts.append('<text class="title" x="0" y="%d">%s</text>' % (y - 10, escape(title)))
        largest = max(value for _, value, _ in entries) or 1
        for name, value, text in entries:
            width = max((WIDTH - LEFT - RIGHT) * value / largest, 1)
            middle = y + BAR - 4
            parts.append('<text x="%d" y="%d" text-anchor="end">%s</text>'
                         % (LEFT - 8, middle, escape(name)))
            parts.append('<rect class="%s" x="%d" y="%d" width="%.1f" height="%d" rx="2"/>'
                         % (kind(name), LEFT, y, width, BAR))
            parts.append('<text x="%.1f" y="%d">%s</text>'
                         % (LEFT + width + 6, middle, escape(text)))
            y += BAR + GAP
    height = y + 10
    return ('<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" width="%d" height="%d" '
            'role="img" aria-label="%s">\n<style>%s</style>\n%s\n</svg>\n'
            % (WIDTH, height, WIDTH, height, escape(heading, {'"': "&quot;"}), STYLE,
               "\n".join(parts)))


def kind(name):
    if name == "Fanal":
        return "fanal"
    return "limit" if name.startswith("limit") else "peer"
