# bash completion for rtls-send

_rtls_send_accounts() {
	sed -n 's/^[[:space:]]*\[send\.account\."\{0,1\}\([^]".]*\)"\{0,1\}\].*/\1/p' \
		"${HOME}/.config/rtls/rtls.toml" /etc/rtls/rtls.toml 2>/dev/null
}

_rtls_send() {
	local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]}
	# Where "=" breaks words, a flag, the "=" and its value are three of them.
	if [[ $cur == "=" ]]; then
		cur=
	elif [[ $prev == "=" ]]; then
		prev=${COMP_WORDS[COMP_CWORD-2]}
	fi
	if [[ ${COMP_WORDS[1]} == queue ]]; then
		if ((COMP_CWORD == 2)); then
			COMPREPLY=($(compgen -W "list show hold release retry rm --config --json --force --help" -- "$cur"))
		else
			COMPREPLY=($(compgen -W "all --force --json $(rtls-send -bp --json 2>/dev/null | sed -n 's/.*"id":"\([^"]*\)".*/\1/p')" -- "$cur"))
		fi
		return
	fi
	case $prev in
	--requiretls) COMPREPLY=($(compgen -W "yes no auto" -- "$cur")) ;;
	--tls-required) COMPREPLY=($(compgen -W "no" -- "$cur")) ;;
	--tls) COMPREPLY=($(compgen -W "implicit starttls" -- "$cur")) ;;
	--password-in) COMPREPLY=($(compgen -W "file keyring systemd" -- "$cur")) ;;
	--body | -B) COMPREPLY=($(compgen -W "7BIT 8BITMIME" -- "$cur")) ;;
	--dsn-notify | -N) COMPREPLY=($(compgen -W "never success failure delay success,failure,delay" -- "$cur")) ;;
	--dsn-return | -R) COMPREPLY=($(compgen -W "full hdrs" -- "$cur")) ;;
	-O) COMPREPLY=($(compgen -W "requiretls=yes requiretls=no smtputf8=yes smtputf8=no Timeout.connect= Timeout.command= Timeout.datablock= Timeout.datafinal=" -- "$cur")) ;;
	--account | -a) COMPREPLY=($(compgen -W "$(_rtls_send_accounts)" -- "$cur")) ;;
	--host) COMPREPLY=($(compgen -A hostname -- "$cur")) ;;
	--config | --file | -C | --transcript | -X | --import-msmtprc | --receipt) COMPREPLY=($(compgen -f -- "$cur")) ;;
	--from | --timeout | --full-name | --port | --configure | --dsn-envid | -f | -r | -F | -V) COMPREPLY=() ;;
	*)
		COMPREPLY=($(compgen -W "--account --body --check --check-config --config --configure
			--debug --dsn-envid --dsn-notify --dsn-return --from --full-name --file --help --host
			--import-msmtprc --json --login --no-aliases --serverinfo --timeout --mx --password-in --port --pretend --read-envelope-from --read-recipients --receipt
			--log-tag --requiretls --tls --tls-required --transcript --verbose --version
			-bm -bp -bs -bv -bi -odi -odb -odq -oem -oeq -q -t -i -n -v" -- "$cur"))
		((COMP_CWORD == 1)) && COMPREPLY+=($(compgen -W queue -- "$cur"))
		;;
	esac
}

complete -o filenames -F _rtls_send rtls-send
