#!/usr/bin/python3

# Copyright (C) The ngx_snorky_module authors

"""The application of the to-do demo: lists in SQLite, told to all windows.

    app.py [--until-eof] SOCKET DATABASE BACKEND KEY

It listens on the Unix socket SOCKET, behind nginx, and reaches Snorky's
backend at the URL BACKEND with KEY, as ../backend/snorky.py does.  It needs
nothing but Python 3.

    GET    /api/todos?list=NAME[&open=1]  {"token", "data": {"lists", "todos"}}
    POST   /api/todos                     {"list", "title"}
    PATCH  /api/todos/ID                  any of {"list", "title", "done"}
    DELETE /api/todos/ID

How an application has to treat DataSync stands in two places, read() and
change(); the rest is what any application has.
"""

import argparse
import contextlib
import json
import os
import signal
import socketserver
import sqlite3
import sys
import threading
from http.server import BaseHTTPRequestHandler
from urllib.parse import parse_qs, urlsplit

sys.dont_write_bytecode = True
sys.path.insert(0, f"{os.path.dirname(os.path.abspath(__file__))}/../backend")

from snorky import Backend, SnorkyError

BODY_MAX = 16384
BATCH = 100                 # deltas in one call
SERVICE = "datasync_backend"
BACKEND_TIMEOUT = 3         # seconds
RETRY = 1                   # seconds between two attempts to publish

SCHEMA = """
    CREATE TABLE IF NOT EXISTS todo (
        id    INTEGER PRIMARY KEY AUTOINCREMENT,
        list  TEXT NOT NULL,
        title TEXT NOT NULL,
        done  INTEGER NOT NULL DEFAULT 0
    );
    CREATE INDEX IF NOT EXISTS todo_list ON todo (list);

    -- what Snorky has not been told yet, oldest first
    CREATE TABLE IF NOT EXISTS outbox (
        id    INTEGER PRIMARY KEY AUTOINCREMENT,
        delta TEXT NOT NULL
    );
"""

FIRST_TODOS = [
    ("Reef survey", "Check the tanks", True),
    ("Reef survey", "Count the starfish", False),
    ("Reef survey", "Photograph the new anemone", False),
    ("Boat", "Fill up the fuel", False),
    ("Boat", "Mend the ladder", True),
]


class Refused(Exception):
    """A request that gets an HTTP status instead of an answer."""

    def __init__(self, status, text):
        super().__init__(text)
        self.status = status


# --- the lists --------------------------------------------------------------

class Todos:
    """The lists, as the database has them and as Snorky is told of them."""

    def __init__(self, database, backend):
        self.database = database
        self.backend = backend
        self.order = threading.Lock()
        self.retry = None
        self.failing = False

        with contextlib.closing(self.connect()) as db, db:
            db.executescript(SCHEMA)

            if db.execute("SELECT count(*) FROM todo").fetchone()[0] == 0:
                db.executemany("INSERT INTO todo (list, title, done)"
                               " VALUES (?, ?, ?)", FIRST_TODOS)

        with self.order:
            self.publish()

    def connect(self):
        # readers see what is committed, and never wait for a writer
        db = sqlite3.connect(self.database, timeout=10)
        db.row_factory = sqlite3.Row
        db.execute("PRAGMA journal_mode = WAL")
        return db

    def read(self, name, only_open):
        """A token for these rows, and then the rows.

        In this order: what is committed before the query is in its result,
        and what is published after the authorization is kept for the token.
        Since every change is committed before it is published, none is
        missed.  One may come in both ways; so a window must not mind to be
        told what it knows.
        """
        token = self.backend.call(SERVICE, "authorizeSubscription", {"items": [
            {"dealer": "lists", "query": None},
            {"dealer": "open_todos",
             "query": ["and", ["==", "list", name], ["==", "done", False]]}
            if only_open else
            {"dealer": "todos", "query": name},
        ]})

        with contextlib.closing(self.connect()) as db:
            db.execute("BEGIN")
            return {"token": token, "data": {
                "lists": [count(db, row["list"]) for row in db.execute(
                    "SELECT DISTINCT list FROM todo ORDER BY list")],
                "todos": [record(row) for row in db.execute(
                    "SELECT * FROM todo WHERE list = ? AND done <= ?"
                    " ORDER BY id", (name, not only_open))],
            }}

    def change(self, write):
        """Has write(db) change a row, and tells Snorky of it.

        Under a lock from the transaction to the publication: two changes of
        a row are published in the order in which they were made.  A delta is
        stored in the same transaction as the change, so it is not lost when
        Snorky cannot be reached, or when this process ends.
        """
        with self.order:
            with contextlib.closing(self.connect()) as db, db:
                db.execute("BEGIN IMMEDIATE")
                old, new = write(db)
                deltas = [delta("todo", old, new), *self.recount(db, old, new)]
                db.executemany("INSERT INTO outbox (delta) VALUES (?)",
                               [(json.dumps(d),) for d in deltas if d])

            # a change must not wait for a server that does not answer
            if self.retry is None:
                self.publish()

        return new

    def recount(self, db, old, new):
        """The deltas of the lists' figures, after a change of one row."""
        for name in {row["list"] for row in (old, new) if row}:
            after = count(db, name)
            before = dict(after)

            for row, sign in (old, 1), (new, -1):
                if row and row["list"] == name:
                    before["total"] += sign
                    before["open"] += sign * (not row["done"])

            yield delta("list", before if before["total"] else None,
                        after if after["total"] else None)

    def publish(self):
        """Tells Snorky what is in the outbox; under the lock."""
        self.retry = None

        with contextlib.closing(self.connect()) as db:
            while True:
                rows = db.execute("SELECT id, delta FROM outbox ORDER BY id"
                                  " LIMIT ?", (BATCH,)).fetchall()
                if not rows:
                    return

                try:
                    self.backend.call(SERVICE, "publishDeltas", {
                        "deltas": [json.loads(row["delta"]) for row in rows],
                    })
                except SnorkyError as error:
                    if not self.failing:
                        log(f"publishDeltas: {error}; trying on")
                    self.failing = True
                    self.publish_later()
                    return

                self.failing = False

                with db:
                    db.execute("DELETE FROM outbox WHERE id <= ?",
                               (rows[-1]["id"],))

    def publish_later(self):
        def again():
            with self.order:
                self.publish()

        self.retry = threading.Timer(RETRY, again)
        self.retry.daemon = True
        self.retry.start()


def record(row):
    return {**row, "done": bool(row["done"])} if row else None


def find(db, todo):
    return record(db.execute("SELECT * FROM todo WHERE id = ?",
                             (todo,)).fetchone())


def count(db, name):
    row = db.execute("SELECT count(*) AS total,"
                     " count(*) FILTER (WHERE NOT done) AS open"
                     " FROM todo WHERE list = ?", (name,)).fetchone()
    return {"list": name, **row}


def delta(model, old, new):
    """What became of a row, or None when nothing did."""
    if old == new:
        return None
    if old is None:
        return {"type": "insert", "model": model, "data": new}
    if new is None:
        return {"type": "delete", "model": model, "data": old}
    return {"type": "update", "model": model, "newData": new, "oldData": old}


# --- HTTP -------------------------------------------------------------------

class Handler(BaseHTTPRequestHandler):

    todos = None            # the Todos, set by main()
    timeout = 30

    def do_GET(self):
        self.answer(self.get)

    def do_POST(self):
        self.answer(self.post)

    def do_PATCH(self):
        self.answer(self.patch)

    def do_DELETE(self):
        self.answer(self.delete)

    def get(self, todo, query):
        if todo is not None:
            raise Refused(405, "Method not allowed")

        name = text(query.get("list", [None])[0], "list", 40)
        return 200, self.todos.read(name, query.get("open") == ["1"])

    def post(self, todo, query):
        if todo is not None:
            raise Refused(405, "Method not allowed")

        fields = self.fields()

        if not {"list", "title"} <= fields.keys():
            raise Refused(400, "A list and a title, please")

        def insert(db):
            row = db.execute("INSERT INTO todo (list, title, done)"
                             " VALUES (:list, :title, :done)",
                             {"done": False, **fields})
            return None, find(db, row.lastrowid)

        return 201, self.todos.change(insert)

    def patch(self, todo, query):
        fields = self.fields()

        def update(db):
            old = self.existing(db, todo)
            db.execute("UPDATE todo SET list = :list, title = :title,"
                       " done = :done WHERE id = :id", {**old, **fields})
            return old, find(db, todo)

        return 200, self.todos.change(update)

    def delete(self, todo, query):
        def delete(db):
            old = self.existing(db, todo)
            db.execute("DELETE FROM todo WHERE id = ?", (todo,))
            return old, None

        return 200, self.todos.change(delete)

    @staticmethod
    def existing(db, todo):
        row = find(db, todo)

        if row is None:
            raise Refused(404, "Not there any more")

        return row

    def fields(self):
        """The fields of a row in the request's body."""

        # a form of another site cannot send this without being asked first
        if self.headers.get_content_type() != "application/json":
            raise Refused(415, "JSON only")

        try:
            length = int(self.headers.get("Content-Length", ""))
        except ValueError:
            raise Refused(411, "No length") from None

        if not 0 <= length <= BODY_MAX:
            raise Refused(413, "Too long")

        try:
            fields = json.loads(self.rfile.read(length))
        except (ValueError, RecursionError):
            raise Refused(400, "No JSON") from None

        if not isinstance(fields, dict) \
                or not fields.keys() <= {"list", "title", "done"}:
            raise Refused(400, "A list, a title or done, please")

        if not isinstance(fields.get("done", False), bool):
            raise Refused(400, "Done or not, please")

        for name, longest in ("list", 40), ("title", 200):
            if name in fields:
                fields[name] = text(fields[name], name, longest)

        return fields

    def answer(self, method):
        url = urlsplit(self.path)
        head, _, todo = url.path.partition("/api/todos")

        try:
            if head or not (todo == "" or is_id(todo[1:])):
                raise Refused(404, "No such thing")

            status, body = method(int(todo[1:]) if todo else None,
                                  parse_qs(url.query))
        except Refused as error:
            status, body = error.status, {"error": str(error)}
        except SnorkyError as error:
            log(f"authorizeSubscription: {error}")
            status, body = 503, {"error": "Snorky cannot be reached"}

        data = json.dumps(body).encode()

        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def address_string(self):
        return "nginx"      # a Unix socket's client has no address

    def log_request(self, code="-", size="-"):
        pass                # nginx can log requests


def is_id(word):
    return word.isascii() and word.isdigit() and len(word) < 19


def text(value, name, longest):
    if not isinstance(value, str) or not value.strip():
        raise Refused(400, f"A {name}, please")

    if len(value) > longest:
        raise Refused(400, f"The {name} is too long")

    try:
        value.encode()
    except UnicodeEncodeError:
        raise Refused(400, f"The {name} is not Unicode") from None

    return value.strip()


class Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True
    request_queue_size = 128


# --- the process ------------------------------------------------------------

def log(message):
    print(f"todo: {message}", file=sys.stderr, flush=True)


def options():
    parser = argparse.ArgumentParser(description="The to-do demo's application")
    parser.add_argument("--until-eof", action="store_true",
                        help="end when the standard input does, and not when"
                             " a terminal's Ctrl-C comes")
    parser.add_argument("socket")
    parser.add_argument("database")
    parser.add_argument("backend")
    parser.add_argument("key")
    return parser.parse_args()


def main():
    args = options()

    Handler.todos = Todos(args.database, Backend(args.backend, args.key,
                                                 BACKEND_TIMEOUT))

    with contextlib.suppress(FileNotFoundError):
        os.unlink(args.socket)

    server = Server(args.socket, Handler)

    # nginx's workers may be another user
    os.chmod(args.socket, 0o666)

    def stop(*unused):
        threading.Thread(target=server.shutdown).start()

    def until_eof():
        while os.read(0, 4096):
            pass
        stop()

    signal.signal(signal.SIGTERM, stop)

    if args.until_eof:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        threading.Thread(target=until_eof, daemon=True).start()
    else:
        signal.signal(signal.SIGINT, stop)

    server.serve_forever(poll_interval=.1)
    os.unlink(args.socket)


if __name__ == "__main__":
    main()
