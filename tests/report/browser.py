"""Look at a page in a headless browser: `python browser.py PAGE SCREENSHOT light|dark WIDTH` writes what was seen as JSON.

The browser is QtWebEngine, the Chromium of the package PySide6-WebEngine; run it in a process of its own.
"""

from __future__ import annotations

import json
import os
import sys

PROBE = """
JSON.stringify({
  title: document.title,
  figures: [...document.querySelectorAll('svg')].map(svg => {
    const box = svg.getBoundingClientRect();
    const inside = [...svg.querySelectorAll('text, rect, circle, polyline, path')].filter(part => {
      const b = part.getBoundingClientRect();
      return b.left >= box.left - 1 && b.right <= box.right + 1 && b.top >= box.top - 1 && b.bottom <= box.bottom + 1;
    }).length;
    const parts = svg.querySelectorAll('text, rect, circle, polyline, path').length;
    return {title: svg.querySelector('title').textContent, width: box.width, height: box.height, parts, inside};
  }),
  text: document.body.innerText,
  scripts: document.scripts.length,
  overflow: document.documentElement.scrollWidth - document.documentElement.clientWidth,
  paper: getComputedStyle(document.body).backgroundColor,
  ink: getComputedStyle(document.body).color,
  requests: performance.getEntriesByType('resource').map(entry => entry.name),
})
"""


def main(page: str, screenshot: str, scheme: str, width: str) -> None:
    """Load the page, probe it, take the picture."""
    os.environ["QT_QPA_PLATFORM"] = "offscreen"
    dark = " --blink-settings=preferredColorScheme=0" if scheme == "dark" else ""
    os.environ["QTWEBENGINE_CHROMIUM_FLAGS"] = f"--no-sandbox --disable-gpu{dark}"
    from PySide6.QtCore import QTimer, QUrl
    from PySide6.QtWebEngineCore import QWebEnginePage
    from PySide6.QtWebEngineWidgets import QWebEngineView
    from PySide6.QtWidgets import QApplication

    messages: list[str] = []

    class Page(QWebEnginePage):
        def javaScriptConsoleMessage(self, level: object, message: str, line: int, source: str) -> None:
            messages.append(message)

    application = QApplication([])
    view = QWebEngineView()
    view.setPage(Page(view))
    view.resize(int(width), 800)

    def seen(result: str) -> None:
        found = json.loads(result) | {"messages": messages}
        view.page().runJavaScript("document.documentElement.scrollHeight", lambda height: whole(int(height), found))

    def whole(height: int, found: dict[str, object]) -> None:
        view.resize(int(width), height)
        QTimer.singleShot(500, lambda: finish(found))

    def finish(found: dict[str, object]) -> None:
        found["saved"] = view.grab().save(screenshot)
        sys.stdout.write(json.dumps(found))
        application.quit()

    def loaded(good: bool) -> None:
        if not good:
            application.exit(1)
        QTimer.singleShot(300, lambda: view.page().runJavaScript(PROBE, seen))

    view.loadFinished.connect(loaded)
    view.load(QUrl.fromLocalFile(page))
    view.show()
    QTimer.singleShot(30_000, lambda: application.exit(1))
    sys.exit(application.exec())


if __name__ == "__main__":
    main(*sys.argv[1:])
