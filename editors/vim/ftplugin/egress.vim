" How an .egress file is edited: as `egress-scn fmt` lays it out.
if exists('b:did_ftplugin')
  finish
endif
let b:did_ftplugin = 1

setlocal comments=:# commentstring=#\ %s
setlocal expandtab shiftwidth=2 softtabstop=2
setlocal fileencoding=utf-8
if executable('egress-scn')
  setlocal formatprg=egress-scn\ fmt\ -
endif
let b:undo_ftplugin = 'setlocal comments< commentstring< expandtab< shiftwidth< softtabstop< fileencoding< formatprg<'
