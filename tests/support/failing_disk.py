"""A disk that fails on demand: a library loaded before all others, whose writes and syncs do what a file says.

The C compiler of the machine makes it; without one there is no such disk, and `make` returns None.
"""

import shutil
import subprocess

SOURCE = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* the fault that is ordered: 'w' a write finds no space, 's' a sync fails, 0 none */
static char ordered(void) {
    const char *order = getenv("FAILING_DISK_ORDER");
    char kind = 0;
    static int (*real_open)(const char *, int, ...);
    static ssize_t (*real_read)(int, void *, size_t);
    if (!real_open) real_open = dlsym(RTLD_NEXT, "open");
    if (!real_read) real_read = dlsym(RTLD_NEXT, "read");
    int fd = order ? real_open(order, O_RDONLY | O_CLOEXEC) : -1;
    if (fd < 0) return 0;
    if (real_read(fd, &kind, 1) != 1) kind = 0;
    close(fd);
    return kind;
}

/* only the database, its log and the large objects are on this disk */
static int is_ours(int fd) {
    char link[64], path[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < 0) return 0;
    path[length] = 0;
    return strstr(path, "dicomnlp.db") || strstr(path, "/objects");
}

#define WRITE(name, parameters, arguments)                                   \
    ssize_t name parameters {                                                \
        static ssize_t (*real) parameters;                                   \
        if (!real) real = dlsym(RTLD_NEXT, #name);                           \
        if (fd > 2 && is_ours(fd) && ordered() == 'w') { errno = ENOSPC; return -1; } \
        return real arguments;                                               \
    }
#define SYNC(name)                                                           \
    int name(int fd) {                                                       \
        static int (*real)(int);                                             \
        if (!real) real = dlsym(RTLD_NEXT, #name);                           \
        if (is_ours(fd) && ordered() == 's') { errno = EIO; return -1; }     \
        return real(fd);                                                     \
    }

WRITE(write, (int fd, const void *data, size_t count), (fd, data, count))
WRITE(pwrite, (int fd, const void *data, size_t count, off_t at), (fd, data, count, at))
WRITE(pwrite64, (int fd, const void *data, size_t count, off64_t at), (fd, data, count, at))
SYNC(fsync)
SYNC(fdatasync)
"""


class FailingDisk:
    """The library, and the file by which faults are ordered."""

    def __init__(self, library, order):
        self._order = order
        self.environment = {"LD_PRELOAD": str(library), "FAILING_DISK_ORDER": str(order)}
        self.heal()

    def fill(self):
        """From now on no write finds space (ENOSPC)."""
        self._order.write_text("w")

    def break_syncs(self):
        """From now on every sync fails (EIO)."""
        self._order.write_text("s")

    def heal(self):
        """From now on all is well again."""
        self._order.write_text("")


def make(folder):
    """Compile it; None where there is no C compiler."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        return None
    source, library = folder / "failing_disk.c", folder / "failing_disk.so"
    source.write_text(SOURCE)
    subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-o", library, source, "-ldl"], check=True, timeout=60)
    return FailingDisk(library, folder / "order")
