package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// tempPrefix names the directories of --ephemeral servers, so that leftovers can be found.
const tempPrefix = "controlplane-"

// workDir is the directory of one server. The lock makes sure that two servers never
// share an etcd; it goes away with the process, however that ends.
type workDir struct {
	path    string
	temp    bool
	lock    *os.File // must stay referenced: a collected *os.File is closed, which unlocks
	release func()   // unlocks, and removes a temporary directory; safe to call twice
}

// openWorkDir locks dir, or a new temporary directory if dir is empty.
func openWorkDir(dir string) (*workDir, error) {
	w := &workDir{path: dir, temp: dir == ""}
	var err error
	if w.temp {
		removeAbandoned()
		w.path, err = os.MkdirTemp("", tempPrefix)
	} else {
		err = os.MkdirAll(dir, 0o700)
	}
	if err != nil {
		return nil, err
	}
	w.release = sync.OnceFunc(func() {
		// A component that could not be stopped may still write: try again.
		for i := 0; w.temp && i < 20 && os.RemoveAll(w.path) != nil; i++ {
			time.Sleep(50 * time.Millisecond)
		}
		if w.lock != nil {
			w.lock.Close()
		}
	})
	if w.path, err = filepath.Abs(w.path); err == nil {
		w.lock, err = lockFile(filepath.Join(w.path, "lock"), os.O_CREATE)
	}
	if err != nil {
		w.release()
		return nil, err
	}
	return w, nil
}

// lockFile takes the lock at path and leaves our process id there for the error of the next one.
func lockFile(path string, flags int) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|flags, 0o600)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		holder, _ := os.ReadFile(path)
		f.Close()
		if err != unix.EWOULDBLOCK {
			return nil, fmt.Errorf("cannot lock %s: %w", path, err)
		}
		return nil, fmt.Errorf("%s is in use by another controlplane (process %s): stop it or choose another --dir",
			filepath.Dir(path), strings.TrimSpace(string(holder)))
	}
	if err := f.Truncate(0); err == nil {
		fmt.Fprintln(f, os.Getpid())
	}
	return f, nil
}

// removeAbandoned removes what --ephemeral servers that were killed with SIGKILL could not.
func removeAbandoned() {
	dirs, _ := filepath.Glob(filepath.Join(os.TempDir(), tempPrefix+"*"))
	for _, dir := range dirs {
		path := filepath.Join(dir, "lock")
		// A young lock may belong to a server that has made its directory and not locked it yet.
		if st, err := os.Stat(path); err != nil || time.Since(st.ModTime()) < time.Minute {
			continue
		}
		if f, err := lockFile(path, 0); err == nil {
			os.RemoveAll(dir)
			f.Close()
		}
	}
}

func (w *workDir) file(name string) string { return filepath.Join(w.path, name) }

// socket returns a path for the unix socket name in the directory that fits in a socket
// address (107 bytes on Linux), whatever the length of the directory's own path: the
// kernel reaches the directory through a file descriptor too. Such a path means something
// in this process only, which is enough: etcd and its only client both live here.
func (w *workDir) socket(name string) (string, error) {
	const longest = len(unix.RawSockaddrUnix{}.Path) - 1
	path := w.file(name)
	if len(path) <= longest {
		return path, nil
	}
	fd, err := unix.Open(w.path, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0) // open for the life of the process
	if err == nil {
		short := fmt.Sprintf("/proc/self/fd/%d", fd)
		if _, err = os.Stat(short); err == nil {
			return filepath.Join(short, name), nil
		}
	}
	return "", fmt.Errorf("%s is too long for a unix socket (%d bytes, at most %d) and there is no way around it here (%v): use a shorter --dir or TMPDIR",
		path, len(path), longest, err)
}
