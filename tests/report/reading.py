"""Reads what a report has written, as a browser or a reader does."""

from html.parser import HTMLParser


class Page(HTMLParser):
    """What a page holds; complains of lost tags."""

    def __init__(self, source):
        super().__init__()
        self.tables, self.tags, self.images, self.links = [], [], [], []
        self.open, self.text, self.headings = [], "", []
        self.feed(source)
        self.close()
        assert self.open == []

    @property
    def alts(self):
        return [image["alt"] for image in self.images]

    def handle_starttag(self, tag, attrs):
        if tag not in ("meta", "img", "link"):
            self.open.append(tag)
        self.tags.append(tag)
        if tag == "table":
            self.tables.append([])
        if tag == "tr":
            self.tables[-1].append([])
        if tag in ("td", "th"):
            self.tables[-1][-1].append("")
        if tag == "h2":
            self.headings.append("")
        found = dict(attrs)
        self.links += [found[key] for key in ("src", "href", "srcset") if key in found]
        if tag == "img":
            self.images.append(found)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += f"{data} "
        if {"td", "th"} & set(self.open):
            self.tables[-1][-1][-1] += data.strip(" \n")
        if "h2" in self.open:
            self.headings[-1] += data

    def table(self, *head):
        """The one whose header begins so."""
        (found,) = (t for t in self.tables if t[0][: len(head)] == list(head))
        return found


def page_of(folder):
    return Page((folder / "report.html").read_text("utf-8"))


def squeezed(lines):
    return [[cell.replace(" ", "") for cell in line] for line in lines]
