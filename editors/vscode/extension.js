// Starts `egress-scn lsp` and connects it to the editor. Everything else is the server's.
'use strict';

const vscode = require('vscode');
const { LanguageClient } = require('vscode-languageclient/node');

let client;

function activate(context) {
  const settings = vscode.workspace.getConfiguration('egress-scn');
  const command = settings.get('path') || 'egress-scn';
  const manifests = settings.get('manifests');
  const language = settings.get('language');
  client = new LanguageClient(
    'egress-scn',
    'egress-scn',
    { command, args: ['lsp'] },
    {
      documentSelector: [{ language: 'egress' }, { scheme: 'file', pattern: manifests }],
      initializationOptions: language ? { language } : {},
      synchronize: {
        configurationSection: 'egress-scn',
        fileEvents: vscode.workspace.createFileSystemWatcher('**/*.{egress,yaml,yml,json}'),
      },
    }
  );
  context.subscriptions.push({ dispose: () => client && client.stop() });
  return client.start().catch((error) => {
    vscode.window.showErrorMessage(
      `egress-scn could not be started as "${command}": ${error.message}. Put it on PATH, or set egress-scn.path.`
    );
  });
}

function deactivate() {
  return client ? client.stop() : undefined;
}

module.exports = { activate, deactivate };
