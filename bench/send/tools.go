package main

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
)

// compile makes a program or library of C. This is not cgo: nothing of it is linked
// into what is measured.
func compile(dir, name, source string, flags ...string) (string, error) {
	path := filepath.Join(dir, name)
	cmd := exec.Command("gcc", append(flags, "-O2", "-x", "c", "-", "-o", path)...)
	cmd.Stdin = strings.NewReader(source)
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("gcc for %s: %w\n%s", name, err, out)
	}
	return path, nil
}

// timerSource runs a program and prints its time and processor time in microseconds
// and its memory in KiB. Linux counts the memory of who forks as that of the program,
// so that has to be somebody small. The program's standard output is thrown away.
const timerSource = `#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
int main(int argc, char **argv)
{
	struct timespec a, b;
	struct rusage u;
	int status, null = open("/dev/null", O_WRONLY);
	clock_gettime(CLOCK_MONOTONIC, &a);
	pid_t child = fork();
	if (child == 0) {
		dup2(null, 1);
		execvp(argv[1], argv + 1);
		perror(argv[1]);
		_exit(127);
	}
	if (child < 0 || wait4(child, &status, 0, &u) != child)
		return 126;
	clock_gettime(CLOCK_MONOTONIC, &b);
	if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
		return WIFEXITED(status) ? WEXITSTATUS(status) : 125;
	printf("%ld %ld %ld\n", (b.tv_sec - a.tv_sec) * 1000000L + (b.tv_nsec - a.tv_nsec) / 1000,
	       (u.ru_utime.tv_sec + u.ru_stime.tv_sec) * 1000000L + u.ru_utime.tv_usec + u.ru_stime.tv_usec, u.ru_maxrss);
	return 0;
}
`

// noDelaySource gives TCP_NODELAY to a program that does not ask for it.
const noDelaySource = `#define _GNU_SOURCE
#include <dlfcn.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
int connect(int fd, const struct sockaddr *to, socklen_t len)
{
	static int (*next)(int, const struct sockaddr *, socklen_t);
	int on = 1;
	if (!next)
		next = (int (*)(int, const struct sockaddr *, socklen_t))dlsym(RTLD_NEXT, "connect");
	if (to->sa_family == AF_INET || to->sa_family == AF_INET6)
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
	return next(fd, to, len);
}
`
