require ["body", "comparator-i;ascii-numeric", "copy", "date", "encoded-character", "envelope", "ereject", "fileinto", "imap4flags", "mailbox", "reject", "relational", "subaddress", "vacation", "vacation-seconds", "variables", "vnd.rtls.tag"];

# What the others need not say again.
set :lower :upperfirst "list" "none";
set "dollar" "$";

if header :matches ["List-Id", "X-Mailing-List"] ["*<*@*>", "*<?*.*>"] {
	set :quotewildcard "list" "${2}";
	addflag ["$List", "\\Seen"];
	fileinto :create :copy :flags "a b \\Flagged" "lists.${list}";
}

if address :user :comparator "i;octet" :is ["to", "cc"] ["alice", "Alice"] {
	setflag "f" "${dollar}Mine";
	keep :flags ["${f}"];
} elsif envelope :detail :contains "to" "list" {
	removeflag "\\Seen";
	redirect :copy "bob@example.net";
} else {
	discard;
	stop;
}

if anyof (size :over 2M, not exists ["from", "date"], header :count "gt" :comparator "i;ascii-numeric" "received" "20") {
	ereject text:
Too large,
..or too odd.
.
	;
}

if allof (body :raw :contains "unsubscribe", body :content ["text", "message/rfc822", ""] :matches "*free*", not body :text :is "") {
	reject "no${hex:20 21}";
}

if anyof (date :zone "+0100" :value "ge" "received" "iso8601" "2026", currentdate :is "weekday" ["0", "6"], date :originalzone "date" "zone" "+0000") {
	vacation :days 3 :subject "away: ${1}" :addresses ["a@example.org"] :handle "h" :from "Alice <alice@example.org>" "I am away.";
}

if hasflag :contains ["f", "list"] ["mine", "list"] {
	vacation :seconds 60 :mime "Content-Type: text/html

<p>Away</p>";
}

if allof (tlstag ["require", "unknown"], tlsorigin :matches "e*", string :value "ne" "${list}" "", mailboxexists "Archive") {
	fileinto "Archive";
}
