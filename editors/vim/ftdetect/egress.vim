autocmd BufNewFile,BufRead *.egress setfiletype egress
