" Highlighting of .egress files. The word lists are those of src/syntax/vocabulary.rs: a test holds them equal.
if exists('b:current_syntax')
  finish
endif
syntax case match
syntax iskeyword @,48-57,_,-

syn keyword egressVerb contained title namespace gateway require set let within include only skip disruptive scenario criteria see note pause trap for steps setup cleanup end apply delete patch restart scale wait exec do capture diff site cut kill expect
syn keyword egressExpectation contained status exit ssl_verify header body stdout stderr json time tls certificate blocked direct via path peer log listener cluster route endpoint secret clusters listeners routes only config resource rejected analysis
syn keyword egressFact contained requireClientCertificate mode sni chains to type tls san alpn bound count address healthy
syn keyword egressModifier contained within every stable because on

syn match egressLine /^\s*\zs\k\+\>/ contains=egressVerb
syn match egressExpected /\%(^\s*expect\s\+\%(no\s\+\)\?\)\@<=\k\+\>/ contains=egressExpectation
syn region egressExpectRest start=/\%(^\s*expect\s\+\%(no\s\+\)\?\k\+\)\@<=\s/ skip=/\\$/ end=/$/ contains=egressFact,egressModifier,egressString,egressRaw,egressRegex,egressVariable,egressConstant,egressNumber,egressOperator,egressComment keepend
syn match egressOperator /\%(\s\)\@<=\%(->\|→\|==\|=\|no\|or\|by\|contains\|matches\|than\)\ze\%(\s\|$\)/
syn match egressConstant /\<[A-Z][A-Z]\+\%(_[A-Z]\+\)*\>/
syn match egressNumber /\%(\s\)\@<=\d\+\%(\.\d\+\)\?\%(ms\|s\|m\|h\|xx\|x\)\?\ze\%(\s\|$\)/
syn match egressVariable /\${[^}[:space:]]*}/
syn region egressString start=/"/ skip=/\\./ end=/"/ oneline contains=egressVariable
syn region egressRaw start=/'/ end=/'/ oneline
syn match egressRegex /\%(matches \)\@<=\/\%(\\.\|[^\/\\]\)*\//
syn region egressText start=/^\s*"""/ end=/"""/
syn region egressHeredoc start=/<<'\?\z(\k\+\)'\?\s*$/ end=/^\s*\z1\s*$/ contains=egressVariable
syn match egressComment /\%(^\|\s\)\@<=#.*$/

hi def link egressVerb Statement
hi def link egressExpectation Function
hi def link egressFact Type
hi def link egressModifier Keyword
hi def link egressOperator Operator
hi def link egressConstant Constant
hi def link egressNumber Number
hi def link egressVariable Identifier
hi def link egressString String
hi def link egressRaw String
hi def link egressRegex String
hi def link egressText String
hi def link egressHeredoc Special
hi def link egressComment Comment

" Texts and heredocs may be long.
syn sync fromstart

let b:current_syntax = 'egress'
