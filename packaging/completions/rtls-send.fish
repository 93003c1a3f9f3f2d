# fish completion for rtls-send

function __rtls_send_accounts
    sed -n 's/^[[:space:]]*\[send\.account\."\{0,1\}\([^]".]*\)"\{0,1\}\].*/\1/p' ~/.config/rtls/rtls.toml /etc/rtls/rtls.toml 2>/dev/null
end

complete -c rtls-send -f
complete -c rtls-send -n __fish_use_subcommand -a queue -d 'look after the queue'
complete -c rtls-send -n '__fish_seen_subcommand_from queue' -a 'list show hold release retry rm'
complete -c rtls-send -n '__fish_seen_subcommand_from queue' -l force -d 'also what is in doubt'
complete -c rtls-send -s t -l read-recipients -d 'take recipients from the header as well'
complete -c rtls-send -s f -s r -l from -x -d 'reverse-path'
complete -c rtls-send -s F -l full-name -x -d 'name for a missing From field'
complete -c rtls-send -l requiretls -a 'yes no auto' -d 'the wish'
complete -c rtls-send -l tls-required -x -a no -d 'the same as --requiretls=no'
complete -c rtls-send -s O -x -a 'requiretls=yes requiretls=no smtputf8=yes smtputf8=no Timeout.connect= Timeout.command= Timeout.datablock= Timeout.datafinal=' -d setting
complete -c rtls-send -s N -l dsn-notify -x -a 'never success failure delay' -d 'when to report'
complete -c rtls-send -s R -l dsn-return -x -a 'full hdrs' -d 'what a report holds'
complete -c rtls-send -s V -l dsn-envid -x -d 'identifier that a report names'
complete -c rtls-send -s B -l body -x -a '7BIT 8BITMIME' -d encoding
complete -c rtls-send -l read-envelope-from -d 'reverse-path from the From field'
complete -c rtls-send -l timeout -x -d 'how many seconds to wait for the server'
complete -c rtls-send -l serverinfo -d 'the same as --check'
complete -c rtls-send -l file -r -F -d 'the same as --config'
complete -c rtls-send -s a -l account -x -a '(__rtls_send_accounts)' -d 'account of the configuration'
complete -c rtls-send -l host -x -a '(__fish_print_hostnames)' -d 'submission server'
complete -c rtls-send -l port -x -d 'its port'
complete -c rtls-send -l tls -x -a 'implicit starttls' -d 'how TLS begins'
complete -c rtls-send -s C -l config -r -F -d configuration
complete -c rtls-send -s b -x -a 'm p s v i' -d mode
complete -c rtls-send -s o -x -a 'di db dq eq em i' -d option
complete -c rtls-send -s q -d 'send what is due in the queue'
complete -c rtls-send -s n -l no-aliases -d 'leave local names as they are'
complete -c rtls-send -l json -d 'in JSON'
complete -c rtls-send -l pretend -d 'say what would be sent'
complete -c rtls-send -l check -d 'look at servers'
complete -c rtls-send -l login -d 'log in as well'
complete -c rtls-send -l mx -d 'look at mail exchangers'
complete -c rtls-send -l check-config -d 'read the configuration'
complete -c rtls-send -l configure -x -d 'find servers for an address'
complete -c rtls-send -l password-in -x -a 'file keyring systemd' -d 'where to keep its password'
complete -c rtls-send -l import-msmtprc -r -F -d 'print a configuration made of one of msmtp'
complete -c rtls-send -l receipt -r -F -d 'write a receipt'
complete -c rtls-send -s X -l transcript -r -F -d 'append the dialogue'
complete -c rtls-send -s L -l log-tag -x -d 'mark lines in the system log'
complete -c rtls-send -s v -l verbose -d 'show the dialogue'
complete -c rtls-send -l debug -d 'show the decisions as well'
complete -c rtls-send -l version
complete -c rtls-send -l help
