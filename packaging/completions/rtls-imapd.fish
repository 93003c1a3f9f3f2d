# fish completion for rtls-imapd

function __rtls_imapd_users
    rtls-imapd user list 2>/dev/null | cut -d' ' -f1
end

complete -c rtls-imapd -f
complete -c rtls-imapd -n __fish_use_subcommand -a user -d 'look after users'
complete -c rtls-imapd -n __fish_use_subcommand -a ban -d 'who is shut out'
complete -c rtls-imapd -n __fish_use_subcommand -a who -d 'show the sessions'
complete -c rtls-imapd -n __fish_use_subcommand -a kick -d 'end sessions'
complete -c rtls-imapd -n '__fish_seen_subcommand_from kick' -a '(rtls-imapd who 2>/dev/null | sed 1d | awk \'{ print $1; if ($2 != "-") print $2 }\')'
complete -c rtls-imapd -n __fish_use_subcommand -a store -d 'check an account'
complete -c rtls-imapd -n __fish_use_subcommand -a quota -d 'what a user takes'
complete -c rtls-imapd -n __fish_use_subcommand -a mailbox -d 'look after mailboxes'
complete -c rtls-imapd -n '__fish_seen_subcommand_from mailbox' -a 'list create delete rename subscribe unsubscribe'
complete -c rtls-imapd -n __fish_use_subcommand -a export -d 'copy a mailbox out'
complete -c rtls-imapd -n __fish_use_subcommand -a import -d 'copy mail in'
complete -c rtls-imapd -n '__fish_seen_subcommand_from user' -a 'add passwd list disable enable rm app-password'
complete -c rtls-imapd -n '__fish_seen_subcommand_from app-password' -a 'add list revoke'
complete -c rtls-imapd -n '__fish_seen_subcommand_from passwd disable enable rm app-password store quota mailbox export import' -a '(__rtls_imapd_users)'
complete -c rtls-imapd -n '__fish_seen_subcommand_from ban' -a 'list lift'
complete -c rtls-imapd -n '__fish_seen_subcommand_from store' -a 'check repair rebuild index'
complete -c rtls-imapd -s c -l config -r -F -d configuration
complete -c rtls-imapd -l check-config -d 'say whether the configuration is right'
complete -c rtls-imapd -l password-file -r -F -d 'its first line is the password'
complete -c rtls-imapd -l no-password -d 'the user logs in by other means'
complete -c rtls-imapd -l no-scram -d 'write the hash alone'
complete -c rtls-imapd -s q -l quiet -d 'show no progress'
complete -c rtls-imapd -l special-use -x -a 'Archive Drafts Junk Sent Trash All Flagged' -d 'what the mailbox is for'
complete -c rtls-imapd -l mbox -r -F -d 'mailbox as one file'
complete -c rtls-imapd -l maildir -r -F -d 'mailbox as a Maildir'
complete -c rtls-imapd -l imap -x -d 'server to copy mail from'
complete -c rtls-imapd -l login -x -d 'who logs in there'
complete -c rtls-imapd -l password-credential -x -d 'credential of systemd'
complete -c rtls-imapd -l mailbox -x -d 'copy these mailboxes alone'
complete -c rtls-imapd -l starttls -d 'TLS begins with STARTTLS'
complete -c rtls-imapd -l ca -r -F -d 'authorities to trust'
complete -c rtls-imapd -l rebuild -d 'index all texts anew'
complete -c rtls-imapd -l json -d 'write JSON'
complete -c rtls-imapd -l version -d 'print the version'
complete -c rtls-imapd -s h -l help -d 'print the options'
