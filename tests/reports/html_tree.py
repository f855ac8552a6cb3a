"""Reads an HTML page with the standard library, for tests to look at."""

from html.parser import HTMLParser

VOID = {"meta", "link", "img", "br", "hr", "input", "rect", "path", "use"}


class Tree(HTMLParser):
    """Reads a page: every element with its attributes, and text outside styles and scripts."""

    def __init__(self, html):
        super().__init__()
        self.elements, self.text, self.open = [], [], []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag, attrs):
        """Keep an element, and remember that it is open."""
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        """Keep an element that is closed at once."""
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        """See that what is closed is what was opened last."""
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data):
        """Keep what a reader sees."""
        if not self.open or self.open[-1] not in {"style", "script"}:
            self.text.append(data)

    def every(self, tag, **wanted):
        """Return the attributes of all elements of a kind with some attributes."""
        return [
            found
            for name, found in self.elements
            if name == tag and all(found.get(key) == value for key, value in wanted.items())
        ]
