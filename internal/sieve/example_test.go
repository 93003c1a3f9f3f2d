package sieve_test

import (
	"context"
	"fmt"
	"strings"
	"time"

	"rtls/internal/sieve"
)

// What a delivery does with a script: run it, then do what it says. An error keeps
// the message, and is to be told to the script's owner.
func Example() {
	script, err := sieve.Parse(strings.NewReader(`
		require ["fileinto", "imap4flags", "vnd.rtls.tag"];
		if allof (tlstag "require", header :contains "subject" "contract") {
			fileinto :flags "\\Flagged" "Confidential";
		}`))
	if err != nil {
		fmt.Println("not stored:", err) // line:col: what is wrong
		return
	}
	text := "From: bob@example.net\r\nTo: alice@example.org\r\nSubject: The contract\r\n\r\nHere it is.\r\n"
	env := sieve.Env{
		Now:    time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC),
		Owner:  "alice@example.org",
		Tag:    "require",
		Origin: "esmtp",
	}
	result, err := script.Run(context.Background(), env, sieve.Message{
		Content:   strings.NewReader(text),
		Size:      int64(len(text)),
		Sender:    "bob@example.net",
		Recipient: "alice@example.org",
	})
	if err != nil {
		fmt.Println("kept:", err)
	}
	for _, action := range result.Actions {
		switch a := action.(type) {
		case sieve.Keep:
			fmt.Println("store in the inbox", a.Flags)
		case sieve.FileInto:
			fmt.Println("store in", a.Mailbox, a.Flags)
		case sieve.Redirect:
			fmt.Println("send to", a.Address)
		case sieve.Vacation:
			fmt.Println("answer", a.To, "unless", a.Key, "was sent within", a.Period)
		case sieve.Reject:
			fmt.Println("refuse:", a.Reason)
		case sieve.Discard:
		}
	}
	// Output: store in Confidential [\Flagged]
}
