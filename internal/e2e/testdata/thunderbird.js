// What TestThunderbird has Thunderbird do, in its main window.

const { MailServices } = ChromeUtils.importESModule("resource:///modules/MailServices.sys.mjs");

const { FileUtils } = ChromeUtils.importESModule("resource://gre/modules/FileUtils.sys.mjs");

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

// open shows a folder. The first time it logs in, and lists all folders.
function open(path) {
  pane().displayFolder(folder(path).URI);
}

// select selects messages of a folder, the first of which is shown if it is alone.
function select(path, uids) {
  open(path);
  pane().threadTree.selectedIndices = uids.map(uid => pane().gDBView.findIndexOfMsgHdr(message(path, uid), true));
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

// quota is what the status bar shows of it: name, use and limit.
function quota(path) {
  return folder(path).QueryInterface(Ci.nsIMsgImapMailFolder).getQuota().map(q => [q.name, Number(q.usage), Number(q.limit)]);
}

// answer marks a message as answered and forwarded, as sending does.
function answer(path, uid) {
  const m = message(path, uid);
  m.folder.addMessageDispositionState(m, Ci.nsIMsgFolder.nsMsgDispositionState_Replied);
  m.folder.addMessageDispositionState(m, Ci.nsIMsgFolder.nsMsgDispositionState_Forwarded);
}

// compact removes for good what is deleted.
function compact(path) {
  folder(path).compact(null, window.msgWindow);
}

function emptyTrash(path) {
  folder(path).emptyTrash(null);
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

function createFolder(path, name) {
  folder(path).createSubfolder(name, window.msgWindow);
}

function renameFolder(path, name) {
  folder(path).rename(name, window.msgWindow);
}

// deleteFolder moves a folder to the trash.
function deleteFolder(path) {
  folder(path).deleteSelf(window.msgWindow);
}

// upload puts a file into a folder, as what has been sent.
async function upload(file, path) {
  await new Promise((resolve, reject) => MailServices.copy.copyFileMessage(
    new FileUtils.File(file), folder(path), null, false, Ci.nsMsgMessageFlags.Read, "", {
      QueryInterface: ChromeUtils.generateQI(["nsIMsgCopyServiceListener"]),
      onStartCopy() {},
      onProgress() {},
      setMessageKey() {},
      getMessageId() { return null; },
      onStopCopy(status) { status ? reject(new Error(status.toString(16))) : resolve(); },
    }, window.msgWindow));
}

// compose opens the window for a new message.
function compose(to, subject, body) {
  const fields = Cc["@mozilla.org/messengercompose/composefields;1"].createInstance(Ci.nsIMsgCompFields);
  Object.assign(fields, { to, subject, body });
  const params = Cc["@mozilla.org/messengercompose/composeparams;1"].createInstance(Ci.nsIMsgComposeParams);
  Object.assign(params, { composeFields: fields, format: Ci.nsIMsgCompFormat.PlainText, type: Ci.nsIMsgCompType.New, identity: MailServices.accounts.defaultAccount.defaultIdentity });
  MailServices.compose.OpenComposeWindowWithParams(null, params);
}

// saveDraft saves what is composed, and closes its window. It returns false as long as
// that is not ready for it.
async function saveDraft() {
  const composing = Services.wm.getMostRecentWindow("msgcompose");
  if (!composing?.gMsgCompose?.editor || composing.gWindowLocked) {
    return false;
  }
  await composing.SaveAsDraft();
  composing.close();
  return true;
}

// search has the server search for a text in bodies.
async function search(path, text) {
  const session = Cc["@mozilla.org/messenger/searchSession;1"].createInstance(Ci.nsIMsgSearchSession);
  session.addScopeTerm(Ci.nsMsgSearchScope.onlineMail, folder(path));
  const term = session.createTerm();
  term.attrib = Ci.nsMsgSearchAttrib.Body;
  const value = term.value;
  value.attrib = term.attrib;
  value.str = text;
  term.value = value;
  term.op = Ci.nsMsgSearchOp.Contains;
  session.appendTerm(term);
  const found = [];
  await new Promise((resolve, reject) => {
    session.registerListener({
      QueryInterface: ChromeUtils.generateQI(["nsIMsgSearchNotify"]),
      onNewSearch() {},
      onSearchHit(m) { found.push(m.messageKey); },
      onSearchDone(status) { status ? reject(new Error(status.toString(16))) : resolve(); },
    });
    session.search(window.msgWindow);
  });
  return found;
}
