# Two commands are all it takes: make demo, make test.

GO ?= go

.PHONY: all install demo test build vet setup soak testssl test-thunderbird bench-store bench-imap bench-lda bench-send lda-faults clean

all: build

# Without C the commands start a quarter faster; see internal/users/system.go.
# rtls-lda is the small program for most deliveries, and starts rtls-lda-full for the
# rest; see docs/decisions/0022. PAM=1 is for rtls-imapd with PAM, which takes C and
# libpam0g-dev.
build:
	CGO_ENABLED=0 $(GO) build -o bin/ ./cmd/rtls-send ./cmd/rtls-imapd
	CGO_ENABLED=0 $(GO) build -o bin/rtls-lda-full ./cmd/rtls-lda
	CGO_ENABLED=0 $(GO) build -tags plain -o bin/rtls-lda ./cmd/rtls-lda
	$(if $(PAM),CGO_ENABLED=1 $(GO) build -tags pam -o bin/ ./cmd/rtls-imapd)

PREFIX = /usr/local
MANDIR = $(PREFIX)/share/man
UNITDIR = $(PREFIX)/lib/systemd/system

# With DESTDIR, as for a package. It enables nothing and replaces no sendmail.
install: build
	install -d $(DESTDIR)$(PREFIX)/bin $(DESTDIR)$(MANDIR)/man1 $(DESTDIR)$(MANDIR)/man5 $(DESTDIR)$(MANDIR)/man8 $(DESTDIR)$(UNITDIR)
	install bin/rtls-send bin/rtls-lda bin/rtls-lda-full bin/rtls-imapd $(DESTDIR)$(PREFIX)/bin
	install -m 0644 cmd/rtls-send/rtls-send.1 $(DESTDIR)$(MANDIR)/man1
	install -m 0644 internal/config/rtls.toml.5 $(DESTDIR)$(MANDIR)/man5
	install -m 0644 cmd/rtls-lda/rtls-lda.8 cmd/rtls-imapd/rtls-imapd.8 $(DESTDIR)$(MANDIR)/man8
	ln -sf rtls-lda.8 $(DESTDIR)$(MANDIR)/man8/rtls-lda-full.8
	for unit in packaging/systemd/*; do \
		sed 's,@BINDIR@,$(PREFIX)/bin,' $$unit >$(DESTDIR)$(UNITDIR)/$${unit##*/}; done
	for c in rtls-send rtls-lda rtls-imapd; do \
		if [ -e packaging/completions/$$c.bash ]; then install -D -m 0644 packaging/completions/$$c.bash $(DESTDIR)$(PREFIX)/share/bash-completion/completions/$$c; fi; \
		if [ -e packaging/completions/_$$c ]; then install -D -m 0644 packaging/completions/_$$c $(DESTDIR)$(PREFIX)/share/zsh/site-functions/_$$c; fi; \
		if [ -e packaging/completions/$$c.fish ]; then install -D -m 0644 packaging/completions/$$c.fish $(DESTDIR)$(PREFIX)/share/fish/vendor_completions.d/$$c.fish; fi; done

demo:
	KEEP=$(KEEP) $(GO) run ./internal/demo

test: setup vet
	$(GO) test -race -shuffle=on -timeout 30m ./...
	CGO_ENABLED=1 $(GO) test -race -tags pam -run PAM ./cmd/rtls-imapd

vet:
	@unformatted=$$(gofmt -l $$(git ls-files '*.go')); \
	if [ -n "$$unformatted" ]; then echo "run gofmt -w on:"; echo "$$unformatted"; exit 1; fi
	$(GO) vet ./...
	$(GO) vet -tags plain ./cmd/rtls-lda

# Real mail programs that the tests talk to. On Debian, as root, they are
# installed; elsewhere install them by hand and the same tests run.
PEERS = ca-certificates curl libpam0g-dev isync neomutt tmux postfix strace openssl \
	getmail6 fetchmail dovecot-core dovecot-imapd dovecot-lmtpd dovecot-sieve procmail maildrop \
	libsasl2-modules libsecret-tools gnome-keyring dbus microsocks git git-email \
	libmailtools-perl s-nail bsd-mailx php-cli systemd zsh fish apparmor \
	offlineimap3 aerc imapfilter testssl.sh mandoc gsasl

# These conflict with Postfix, or would change the machine; they are unpacked below
# .peers and run from there.
PEERS_UNPACKED = exim4-daemon-light opensmtpd cron logwatch mdadm sudo

# A server with REQUIRETLS by others. It needs Node.js; its tests are skipped without.
PEERS_NPM = smtp-server@3.21.6

# IMAP clients for it.
PEERS_NPM_IMAP = imapflow@2.10.2 imap@0.8.19

setup:
	@./internal/e2e/setup.sh $(PEERS) --unpack $(PEERS_UNPACKED)
	@if command -v npm >/dev/null && [ ! -e .peers/smtp-server/node_modules ]; then \
		mkdir -p .peers/smtp-server && \
		npm install --silent --no-audit --no-fund --ignore-scripts --prefix .peers/smtp-server $(PEERS_NPM) >/dev/null; \
	fi
	@if command -v npm >/dev/null && [ ! -e .peers/imap-clients/node_modules ]; then \
		mkdir -p .peers/imap-clients && \
		npm install --silent --no-audit --no-fund --ignore-scripts --prefix .peers/imap-clients $(PEERS_NPM_IMAP) >/dev/null; \
	fi

# Longer than a test that everybody runs may be.
soak:
	RTLS_TEST_CONCURRENT=60s RTLS_TEST_KILLS=all $(GO) test -count=1 -timeout 30m -run "TestConcurrentMailbox|FaultWalk|CrashWalk" -v ./store
	RTLS_TEST_KILLS=all $(GO) test -count=1 -timeout 30m -run TestQueueKills -v ./cmd/rtls-send
	RTLS_TEST_IMAP_SOAK=10m $(GO) test -race -count=1 -timeout 30m -run TestIMAPSoak -v ./internal/e2e

# All that testssl.sh looks for, the known attacks included.
testssl: setup
	RTLS_TEST_TLS=all $(GO) test -count=1 -timeout 30m -run TestSSLScan -v ./internal/e2e

# Thunderbird is a large package, so make test does without. ARTIFACTS=DIR keeps a
# picture of its window, and what it and the server said to each other.
PEERS_THUNDERBIRD = thunderbird xvfb

test-thunderbird:
	@./internal/e2e/setup.sh $(PEERS_THUNDERBIRD)
	RTLS_TEST_THUNDERBIRD=1 RTLS_TEST_ARTIFACTS=$(abspath $(ARTIFACTS)) $(GO) test -race -count=1 -timeout 15m -run TestThunderbird -v ./internal/e2e

# BENCH_DIR=DIR measures on another file system.
bench-store:
	$(GO) run ./bench/store

# BENCH_IMAP="-messages 100000" for a large mailbox, BENCH_IMAP="-scenarios login" for
# some of it; CPU=1 counts processor time.
bench-imap:
	@./internal/e2e/setup.sh dovecot-imapd openssl
	CGO_ENABLED=0 $(GO) run ./bench/imap $(BENCH_IMAP)

# The delivery agents that rtls-lda is compared with; the tests do without them.
PEERS_LDA = dovecot-core dovecot-lmtpd maildrop procmail strace

bench-lda:
	@./internal/e2e/setup.sh $(PEERS_LDA)
	$(GO) run ./bench/lda $(BENCH_LDA)

# What rtls-send is compared with. gcc makes two small tools.
PEERS_SEND = s-nail curl gcc libc6-dev
PEERS_SEND_UNPACKED = msmtp nullmailer dma

bench-send:
	@./internal/e2e/setup.sh $(PEERS_SEND) --unpack $(PEERS_SEND_UNPACKED)
	CGO_ENABLED=0 $(GO) run ./bench/send $(BENCH_SEND)

# Writes docs/lda-faults.md.
lda-faults:
	@./internal/e2e/setup.sh $(PEERS_LDA)
	$(GO) run ./bench/lda --faults >docs/lda-faults.md.new
	mv docs/lda-faults.md.new docs/lda-faults.md

clean:
	rm -rf bin
