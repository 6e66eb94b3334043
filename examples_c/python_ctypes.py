#!/usr/bin/env python3
"""libhmkv from Python, with nothing but the standard library.

    python_ctypes.py [ENDPOINT [LIBRARY]]

The library is LIBRARY, else what the environment variable HMKV_LIBRARY names,
else libhmkv.so.0. The program stores keys, reads a range, competes for the
lock, and watches a key; it checks what it gets and ends with status 0.
"""
import ctypes
import os
import queue
import sys
import threading
from ctypes import POINTER, byref, c_bool, c_char_p, c_int32, c_int64, c_size_t, c_void_p

OK, NOT_FOUND, COMPARE_FAILED, BUSY, TIMED_OUT = range(5)
EHANDLE = -2
PUT, DELETE = 1, 2


class KeyValue(ctypes.Structure):
    """hmkv_kv. Key and value are addresses: as c_char_p they would end at a NUL."""

    _fields_ = [
        ("key", c_void_p),
        ("key_len", c_size_t),
        ("value", c_void_p),
        ("value_len", c_size_t),
        ("create_revision", c_int64),
        ("mod_revision", c_int64),
        ("version", c_int64),
        ("lease", c_int64),
    ]


# Called from threads of the library: ctypes takes the interpreter's lock first.
WATCH_FN = ctypes.CFUNCTYPE(c_bool, c_char_p, c_char_p, c_int32, c_void_p)

# Handles are c_void_p: without prototypes ctypes would cut them to 32 bits.
PROTOTYPES = {
    "hmkv_version": (c_char_p,),
    "hmkv_strerror": (c_char_p, c_int32),
    "hmkv_errmsg": (c_char_p,),
    "hmkv_free": (None, c_void_p),
    "hmkv_open": (c_int32, c_char_p, c_char_p, POINTER(c_void_p)),
    "hmkv_close": (c_int32, c_void_p),
    "hmkv_store": (c_int32, c_void_p, c_char_p, c_char_p),
    "hmkv_get": (c_int32, c_void_p, c_char_p, POINTER(c_void_p)),
    "hmkv_get_range": (c_int32, c_void_p, c_char_p, c_char_p, POINTER(c_void_p)),
    "hmkv_delete": (c_int32, c_void_p, c_char_p),
    "hmkv_dist_timed_lock": (c_int32, c_void_p, c_int32),
    "hmkv_dist_unlock": (c_int32, c_void_p),
    "hmkv_watch_cb": (c_int32, c_void_p, c_char_p, c_int32, WATCH_FN, c_void_p, POINTER(c_void_p)),
    "hmkv_watch_cb_cancel": (c_int32, c_void_p),
    "hmkv_result_count": (c_size_t, c_void_p),
    "hmkv_result_kv": (POINTER(KeyValue), c_void_p, c_size_t),
    "hmkv_result_free": (None, c_void_p),
}


def load(path):
    # CDLL lets other Python threads run during a call, callbacks too; PyDLL
    # would hold them up.
    library = ctypes.CDLL(path)
    for name, (result, *arguments) in PROTOTYPES.items():
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    return library


class Error(Exception):
    pass


class Store:
    """An open store; use it with `with`. Keys and values are bytes."""

    def __init__(self, library, endpoint, options=b""):
        self.lib = library
        self.callbacks = []  # ctypes frees a callback that nobody refers to
        self.handle = c_void_p()
        self.check(library.hmkv_open(endpoint, options, byref(self.handle)))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        # From now on no callback runs, unless one still does.
        if self.lib.hmkv_close(self.handle) != TIMED_OUT:
            self.callbacks.clear()

    def check(self, status):
        if status < 0:
            meaning, details = self.lib.hmkv_strerror(status), self.lib.hmkv_errmsg()
            raise Error(f"{meaning.decode()}: {details.decode(errors='replace')}")
        return status

    def store(self, key, value):
        self.check(self.lib.hmkv_store(self.handle, key, value))

    def get(self, key):
        """The value, or None."""
        text = c_void_p()
        if self.check(self.lib.hmkv_get(self.handle, key, byref(text))) == NOT_FOUND:
            return None
        try:
            return ctypes.string_at(text)
        finally:
            self.lib.hmkv_free(text)

    def range(self, start, end):
        """A list of keys and values, sorted by key."""
        result = c_void_p()
        self.check(self.lib.hmkv_get_range(self.handle, start, end, byref(result)))
        try:
            pairs = []
            for i in range(self.lib.hmkv_result_count(result)):
                kv = self.lib.hmkv_result_kv(result, i).contents
                pairs.append(
                    (ctypes.string_at(kv.key, kv.key_len), ctypes.string_at(kv.value, kv.value_len))
                )
            return pairs
        finally:
            self.lib.hmkv_result_free(result)

    def delete(self, key):
        self.check(self.lib.hmkv_delete(self.handle, key))

    def lock(self, seconds=0):
        """True when this store holds the lock now, False when another does."""
        return self.check(self.lib.hmkv_dist_timed_lock(self.handle, seconds)) == OK

    def unlock(self):
        self.check(self.lib.hmkv_dist_unlock(self.handle))

    def watch(self, key, function):
        """Have function(key, value, op) called for each change of the key."""

        @WATCH_FN
        def callback(key, value, op, _userdata):
            function(key, value, op)
            return True

        self.callbacks.append(callback)
        watcher = c_void_p()
        self.check(
            self.lib.hmkv_watch_cb(
                self.handle, key, PUT | DELETE, callback, None, byref(watcher)
            )
        )
        return watcher

    def cancel(self, watcher):
        return self.lib.hmkv_watch_cb_cancel(watcher)


def expect(what, got, wanted):
    if got != wanted:
        raise Error(f"{what}: got {got!r}, wanted {wanted!r}")
    print(f"{what}: {got!r}")


def main(endpoint="mem:", path=None):
    library = load(path or os.environ.get("HMKV_LIBRARY") or "libhmkv.so.0")
    print(f"libhmkv {library.hmkv_version().decode()} on {endpoint}")
    endpoint = endpoint.encode()
    options = b"lock=python_ctypes/lock"
    with Store(library, endpoint, options) as kv, Store(library, endpoint, options) as other:
        for fruit, color in (b"plum", b"blue"), (b"apple", b"red"), (b"kiwi", b"gr\xc3\xbcn"):
            kv.store(b"python_ctypes/fruit/" + fruit, color)
        expect("get", kv.get(b"python_ctypes/fruit/apple"), b"red")
        expect("get of what is not there", kv.get(b"python_ctypes/fruit/pear"), None)
        fruits = kv.range(b"python_ctypes/fruit/", b"python_ctypes/fruit/\xff")
        expect(
            "range",
            [(key.rpartition(b"/")[2].decode(), value.decode()) for key, value in fruits],
            [("apple", "red"), ("kiwi", "grün"), ("plum", "blue")],
        )

        expect("lock", kv.lock(), True)
        expect("lock of another", other.lock(), False)
        kv.unlock()
        expect("lock of another, after the unlock", other.lock(seconds=10), True)
        other.unlock()

        changes = queue.Queue()

        def changed(key, value, op):
            changes.put((key, value, op, threading.get_native_id()))

        watcher = kv.watch(b"python_ctypes/door", changed)
        other.store(b"python_ctypes/door", b"open")
        other.store(b"python_ctypes/door", b"shut")
        other.delete(b"python_ctypes/door")
        here = threading.get_native_id()
        for wanted in (b"open", PUT), (b"shut", PUT), (None, DELETE):
            key, value, op, thread = changes.get(timeout=10)
            expect("watch", (key, (value, op)), (b"python_ctypes/door", wanted))
            if thread == here:
                raise Error("watch: the callback ran on the caller's thread")
        expect("cancel", kv.cancel(watcher), OK)
        expect("cancel again", kv.cancel(watcher), EHANDLE)

        for key, _ in fruits:
            kv.delete(key)
    print("all is well")


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except (Error, OSError, queue.Empty) as error:
        sys.exit(f"python_ctypes: {type(error).__name__}: {error}")
