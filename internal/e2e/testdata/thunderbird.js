// What TestThunderbird has Thunderbird do, in its main window.

const { MailServices } = ChromeUtils.importESModule("resource:///modules/MailServices.sys.mjs");

const imapServer = () => MailServices.accounts.allServers.find(server => server.type == "imap");
const pane = () => window.gTabmail.currentAbout3Pane;

// folder finds a folder by its path on the server, as NAME/BELOW.
function folder(path) {
  const found = imapServer().rootFolder.descendants.find(f => pathOf(f) == path);
  if (!found) {
    throw new Error("Thunderbird knows of no folder " + path);
  }
  return found;
}

const pathOf = f => (f.parent.isServer ? "" : pathOf(f.parent) + "/") + f.name;

function message(path, uid) {
  const found = [...folder(path).messages].find(m => m.messageKey == uid);
  if (!found) {
    throw new Error(`Thunderbird knows of no message ${uid} in ${path}`);
  }
  return found;
}

// ready tells whether the window is there with all its parts.
function ready() {
  return document.readyState == "complete" && !!pane()?.folderTree?.rowCount;
}

// trust makes an authority, in base 64, one that may sign servers' certificates.
function trust(authority) {
  Cc["@mozilla.org/security/x509certdb;1"].getService(Ci.nsIX509CertDB).addCertFromBase64(authority, "C,,");
}

async function addLogin(user, password) {
  const login = Cc["@mozilla.org/login-manager/loginInfo;1"].createInstance(Ci.nsILoginInfo);
  login.init("imap://localhost", null, "imap://localhost", user, password, "", "");
  await Services.logins.addLoginAsync(login);
}

// logIn asks the server for its folders, as a click on the account does.
function logIn() {
  imapServer().performExpand(window.msgWindow);
}

function folders() {
  const names = { Inbox: "", SentMail: "Sent", Drafts: "Drafts", Trash: "Trash", Junk: "Junk", Archive: "Archive" };
  const all = {};
  for (const f of imapServer().rootFolder.descendants) {
    const use = Object.keys(names).find(name => f.flags & Ci.nsMsgFolderFlags[name]);
    all[pathOf(f)] = use ? names[use] : "";
  }
  return all;
}

// messages are the flags of all messages of a folder, by UID.
function messages(path) {
  const all = {};
  for (const m of folder(path).messages) {
    all[m.messageKey] = { subject: m.mime2DecodedSubject, read: m.isRead, starred: m.isFlagged, keywords: m.getStringProperty("keywords").split(" ").filter(k => k) };
  }
  return all;
}

// open shows a folder, and a message of it if one is named.
function open(path, uid) {
  pane().displayFolder(folder(path).URI);
  if (uid) {
    pane().selectMessage(message(path, uid));
  }
}

// shown is the message in the window, once it is all there.
function shown() {
  const about = pane().messageBrowser.contentWindow;
  const page = about.getMessagePaneBrowser?.()?.contentDocument;
  if (!about.gMessage || !about.msgLoaded || page?.readyState != "complete") {
    return { uid: 0 };
  }
  return { uid: about.gMessage.messageKey, text: page.body.textContent };
}

// press does what a menu or a key does with the selected message.
function press(command, path) {
  pane().commandController.doCommand(command, path && folder(path));
}

// source is a message as it is, in base 64.
async function source(path, uid) {
  const m = message(path, uid);
  const uri = m.folder.getUriForMsg(m);
  let text = "";
  await new Promise((resolve, reject) => {
    const input = Cc["@mozilla.org/binaryinputstream;1"].createInstance(Ci.nsIBinaryInputStream);
    MailServices.messageServiceFromURI(uri).streamMessage(uri, {
      QueryInterface: ChromeUtils.generateQI(["nsIStreamListener"]),
      onStartRequest() {},
      onDataAvailable(_request, stream, _offset, count) {
        input.setInputStream(stream);
        text += input.readBytes(count);
      },
      onStopRequest(_request, status) {
        status ? reject(new Error(`${uri}: ${status.toString(16)}`)) : resolve();
      },
    }, null, null, false, "", false);
  });
  // Lines of its own, if it has the message on its disk.
  return btoa(text.replace(/^X-Mozilla-Status: .*\r?\nX-Mozilla-Status2: .*\r?\n/, ""));
}
