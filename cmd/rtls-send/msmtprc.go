package main

import (
	"bufio"
	"fmt"
	"os"
	"slices"
	"strings"

	"rtls/internal/cli"
	"rtls/internal/config"
)

// importMsmtprc prints a configuration that does what one of msmtp does, with a
// comment for everything that has no counterpart. Passwords are not printed.
func importMsmtprc(env cli.Env, path string) error {
	f, err := os.Open(path)
	if err != nil {
		return cli.Errorf(cli.NoInput, "%w", err)
	}
	defer f.Close()
	rc := &msmtprc{defaults: map[string]string{}}
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<20)
	for number := 1; lines.Scan(); number++ {
		if err := rc.line(lines.Text()); err != nil {
			return cli.Errorf(cli.DataErr, "%s:%d: %w", path, number, err)
		}
	}
	if err := lines.Err(); err != nil {
		return cli.Errorf(cli.NoInput, "%s: %w", path, err)
	}
	return say(env.Stdout, rc.toml())
}

// msmtprc is a configuration of msmtp as far as it was read.
type msmtprc struct {
	defaults map[string]string
	accounts []*msmtpAccount
	now      *msmtpAccount // nil: before the first, in the defaults
	standard string        // "account default : NAME"
}

type msmtpAccount struct {
	name   string
	values map[string]string
}

// line reads one line: a comment, "defaults", "account name [: base, ...]" or a
// keyword with its value.
func (rc *msmtprc) line(line string) error {
	line = strings.TrimSpace(line)
	if line == "" || line[0] == '#' {
		return nil
	}
	keyword, value, _ := strings.Cut(strings.Replace(line, "\t", " ", 1), " ")
	value = strings.TrimSpace(value)
	if len(value) > 1 && value[0] == '"' && value[len(value)-1] == '"' {
		value = value[1 : len(value)-1]
	}
	switch keyword {
	case "defaults":
		rc.now = nil
	case "account":
		return rc.account(value)
	default:
		target := rc.defaults
		if rc.now != nil {
			target = rc.now.values
		}
		target[keyword] = value
	}
	return nil
}

func (rc *msmtprc) account(value string) error {
	name, bases, derived := strings.Cut(value, ":")
	name = strings.TrimSpace(name)
	if name == "" {
		return fmt.Errorf("account without a name")
	}
	a := &msmtpAccount{name: name, values: map[string]string{}}
	for k, v := range rc.defaults {
		a.values[k] = v
	}
	for base := range strings.SplitSeq(bases, ",") {
		base = strings.TrimSpace(base)
		at := slices.IndexFunc(rc.accounts, func(b *msmtpAccount) bool { return b.name == base })
		if derived && at < 0 {
			return fmt.Errorf("account %q is not defined", base)
		}
		if !derived {
			break
		}
		for k, v := range rc.accounts[at].values {
			a.values[k] = v
		}
		if name == "default" && rc.standard == "" {
			rc.standard = base
		}
	}
	rc.now = a
	if name == "default" && rc.standard != "" {
		return nil // another name for an account that there is
	}
	rc.accounts = append(rc.accounts, a)
	return nil
}

// toml writes the whole configuration.
func (rc *msmtprc) toml() string {
	var b strings.Builder
	b.WriteString("# Made from a configuration of msmtp. See rtls.toml(5).\n#\n")
	b.WriteString("# Mail is sent with REQUIRETLS or not at all, unless an account says\n# requiretls = \"auto\"; then it is sent as msmtp did, over verified TLS to this server.\n\n")
	values := rc.defaults
	if len(rc.accounts) > 0 {
		values = rc.accounts[0].values
	}
	if domain := values["domain"]; domain != "" && domain != "localhost" {
		fmt.Fprintf(&b, "hostname = %s\n\n", config.Quote(domain))
	}
	b.WriteString("[send]\n")
	if rc.standard == "" {
		if i := slices.IndexFunc(rc.accounts, func(a *msmtpAccount) bool { return a.name == "default" }); i >= 0 {
			rc.standard = "default"
		}
	}
	if rc.standard != "" {
		fmt.Fprintf(&b, "default = %s\n", config.Quote(rc.standard))
	}
	if file := values["aliases"]; file != "" {
		fmt.Fprintf(&b, "aliases = %s\n", config.Quote(file))
	}
	for _, a := range rc.accounts {
		b.WriteString("\n" + a.toml())
	}
	for _, a := range rc.accounts {
		if from := a.values["from"]; rc.onlyOf(from) {
			fmt.Fprintf(&b, "\n[[send.rule]]\nsender = %s\naccount = %s\n", config.Quote(from), config.Quote(a.name))
		}
	}
	return b.String()
}

// onlyOf says whether an address, or a pattern of some, chooses one account among
// several, as msmtp has it.
func (rc *msmtprc) onlyOf(from string) bool {
	n := 0
	for _, a := range rc.accounts {
		if strings.EqualFold(a.values["from"], from) {
			n++
		}
	}
	return n == 1 && len(rc.accounts) > 1 && strings.Contains(from, "@") && !strings.Contains(from, "%")
}

// set says whether a switch of msmtp is on.
func (a *msmtpAccount) on(key string) bool { return a.values[key] == "on" || a.values[key] == "" }

func (a *msmtpAccount) toml() string {
	w := &tomlWriter{}
	fmt.Fprintf(&w.b, "[send.account.%s]\n", config.Quote(a.name))
	if a.values["socket"] != "" {
		a.socket(w)
	} else {
		a.host(w)
	}
	if a.values["protocol"] == "lmtp" {
		w.b.WriteString("lmtp = true\n")
	}
	a.login(w)
	keys := make([]string, 0, len(a.values))
	for key := range a.values {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	for _, key := range keys {
		if !a.clear() || !strings.HasPrefix(key, "tls_") {
			a.keyword(w, key, a.values[key])
		}
	}
	return w.b.String()
}

// clear says that there is no TLS, which a Unix socket can do without.
func (a *msmtpAccount) clear() bool { return a.values["socket"] != "" && a.values["tls"] != "on" }

func (a *msmtpAccount) socket(w *tomlWriter) {
	w.put("host", "unix:"+a.values["socket"])
	switch {
	case a.clear():
		w.put("tls", "none")
		w.note("without TLS nothing is sent that requires it")
		return
	case a.values["tls_starttls"] == "off":
		w.put("tls", "implicit")
	}
	if a.values["tls_host_override"] == "" {
		w.put("tls_name", a.values["host"])
	}
}

// host writes host, port and mode of TLS.
func (a *msmtpAccount) host(w *tomlWriter) {
	port := "25"
	if a.values["protocol"] == "lmtp" {
		port = "" // there is no usual one
	}
	if a.values["tls_starttls"] == "off" && a.values["tls"] == "on" {
		w.put("tls", "implicit")
		port = "465"
	} else {
		w.put("tls", "starttls")
	}
	if p := a.values["port"]; p != "" {
		port = p
	}
	w.put("host", a.values["host"])
	if port != "" && port == strings.TrimLeft(port, "0") && strings.Trim(port, "0123456789") == "" {
		fmt.Fprintf(&w.b, "port = %s\n", port)
	}
}

// login is user, mechanism and secret.
func (a *msmtpAccount) login(w *tomlWriter) {
	user, auth := a.values["user"], strings.ToUpper(a.values["auth"])
	if auth == "OFF" || user == "" && auth != "EXTERNAL" {
		return
	}
	if a.clear() {
		w.note("user %s: there is no login without TLS", user)
		return
	}
	w.put("user", user)
	eval := a.values["passwordeval"]
	secret := "password_command"
	switch auth {
	case "", "ON":
	case "PLAIN", "LOGIN", "SCRAM-SHA-256", "SCRAM-SHA-256-PLUS", "EXTERNAL":
		w.put("auth", auth)
	case "OAUTHBEARER", "XOAUTH2":
		w.put("auth", auth)
		secret = "token_command"
	default:
		w.note("auth %s is not there; the strongest that the server offers is used", a.values["auth"])
	}
	switch {
	case auth == "EXTERNAL":
	case eval != "":
		fmt.Fprintf(&w.b, "%s = [\"sh\", \"-c\", %s]\n", secret, config.Quote(eval))
	case secret == "token_command":
		fmt.Fprintf(&w.b, "%s = [\"cat\", %s]\n", secret, config.Quote("/path/to/token"))
		w.note("write the command that prints the token")
	default:
		w.put("password_file", "~/.config/rtls/"+strings.Map(fileLetter, a.name)+".password")
		w.note("put the password into that file, and give it mode 0600")
	}
}

func fileLetter(r rune) rune {
	if r == '/' || r <= ' ' {
		return '-'
	}
	return r
}

// renamed are keywords with another name here.
var renamed = map[string]string{
	"from": "from", "tls_cert_file": "client_cert", "tls_key_file": "client_key", "source_ip": "source",
	"tls_host_override": "tls_name",
}

// silent are keywords that are dealt with elsewhere, or that ask for what is always
// done.
var silent = []string{
	"host", "port", "tls", "tls_starttls", "user", "auth", "password", "passwordeval", "domain", "aliases", "proxy_port",
	"protocol", "socket", "add_missing_from_header", "add_missing_date_header", "set_date_header", "set_msgid_header", "ntlmdomain",
}

// notes says why a keyword has no counterpart, or what to do instead.
var notes = map[string]string{
	"timeout":               "times are bounded as they are; -O Timeout.command=TIME",
	"tls_fingerprint":       "a certificate's fingerprint does not take the place of verification; pin_sha256 pins keys, besides it",
	"tls_min_dh_prime_bits": "Go's TLS has no such knob",
	"tls_priorities":        "Go's TLS has no such knob; see min_tls",
	"tls_crl_file":          "there are no revocation lists",
	"logfile":               "write log = \"PATH\" under [send]",
	"logfile_time_format":   "times are in the form of RFC 3339",
	"syslog":                "that is the default; see log under [send]",
	"maildomain":            "write hostname at the top, or from",
	"auto_from":             "write from",
	"from_full_name":        "use -F NAME",
	"dsn_notify":            "use -N",
	"dsn_return":            "use -R",
	"eval":                  "no shell is run for the configuration",
}

// keyword writes what becomes of one of the others.
func (a *msmtpAccount) keyword(w *tomlWriter, key, value string) {
	switch note, known := notes[key]; {
	case slices.Contains(silent, key):
		if key == "tls" && value == "off" {
			w.note("tls off is not possible: the server needs STARTTLS")
		}
	case renamed[key] != "":
		if key == "from" && strings.ContainsAny(value, "%*") {
			w.note("from %s: write one address; rules can choose the account by the sender", value)
			return
		}
		w.put(renamed[key], value)
	case key == "tls_trust_file":
		if value != "system" && value != "" {
			w.put("ca_file", value)
		}
	case key == "tls_certcheck":
		if !a.on(key) {
			w.note("tls_certcheck off is not possible: the certificate is always verified")
		}
	case key == "proxy_host":
		if value != "" {
			port := a.values["proxy_port"]
			if port == "" {
				port = "1080"
			}
			w.put("proxy", "socks5://"+value+":"+port)
		}
	case key == "undisclosed_recipients":
		if a.on(key) {
			w.b.WriteString("undisclosed = true\n")
		}
	case key == "allow_from_override" && value == "off", key == "set_from_header" && value == "on":
		if a.values["from"] != "" && !strings.Contains(w.b.String(), "\nidentity =") {
			w.put("identity", "account")
		}
	case key == "allow_from_override", key == "set_from_header":
	case key == "remove_bcc_headers", key == "keepbcc":
		if (key == "keepbcc") == (value == "on") {
			w.note("%s %s: Bcc never leaves", key, value)
		}
	case known:
		w.note("%s %s: %s", key, value, note)
	default:
		w.note("%s %s: unknown", key, value)
	}
}

// tomlWriter writes keys and comments.
type tomlWriter struct{ b strings.Builder }

func (w *tomlWriter) put(key, value string) {
	if value != "" {
		fmt.Fprintf(&w.b, "%s = %s\n", key, config.Quote(value))
	}
}

func (w *tomlWriter) note(format string, args ...any) {
	fmt.Fprintf(&w.b, "# %s\n", cli.Printable(fmt.Sprintf(format, args...)))
}
