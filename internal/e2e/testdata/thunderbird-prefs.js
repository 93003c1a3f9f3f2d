// One account on the test's server.
user_pref("mail.accountmanager.accounts", "account1");
user_pref("mail.accountmanager.defaultaccount", "account1");
user_pref("mail.account.account1.server", "server1");
user_pref("mail.account.account1.identities", "id1");
user_pref("mail.account.lastKey", 1);
user_pref("mail.identity.id1.fullName", "Alice");
user_pref("mail.identity.id1.useremail", "%USER");
user_pref("mail.identity.id1.valid", true);
user_pref("mail.server.server1.type", "imap");
user_pref("mail.server.server1.name", "rtls");
user_pref("mail.server.server1.hostname", "localhost");
user_pref("mail.server.server1.port", %PORT);
user_pref("mail.server.server1.socketType", 3); // TLS from the start
user_pref("mail.server.server1.authMethod", 3); // a password, inside TLS
user_pref("mail.server.server1.userName", "%USER");
user_pref("mail.server.server1.directory-rel", "[ProfD]ImapMail/localhost");
user_pref("mail.server.server1.login_at_startup", false);
user_pref("mail.server.server1.check_new_mail", false); // there is IDLE
user_pref("mail.server.server1.autosync_offline_stores", false);
user_pref("mail.server.server1.spamLevel", 0); // it marks nothing by its own judgement

// No questions, and no words on the screen but those of the mail.
user_pref("mail.rights.version", 1);
user_pref("mail.shell.checkDefaultClient", false);
user_pref("mailnews.confirm.moveFoldersToTrash", false);
user_pref("mail.warn_on_shift_delete", false);
user_pref("mailnews.start_page.enabled", false);
user_pref("mail.inappnotifications.enabled", false);

// Nothing to anybody else. What is left of it goes to a proxy, which the test is.
user_pref("network.proxy.type", 1);
user_pref("network.proxy.http", "127.0.0.1");
user_pref("network.proxy.http_port", %PROXY);
user_pref("network.proxy.ssl", "127.0.0.1");
user_pref("network.proxy.ssl_port", %PROXY);
user_pref("app.update.auto", false);
user_pref("app.update.enabled", false);
user_pref("datareporting.policy.dataSubmissionEnabled", false);
user_pref("extensions.blocklist.enabled", false);
user_pref("extensions.update.enabled", false);
user_pref("mail.provider.enabled", false);
user_pref("mailnews.auto_config_url", "");
user_pref("network.captive-portal-service.enabled", false);
user_pref("network.connectivity-service.enabled", false);
user_pref("services.settings.server", "data:,");
user_pref("toolkit.telemetry.enabled", false);
user_pref("toolkit.telemetry.server", "");

user_pref("marionette.port", 0); // a free one, which it writes into a file
