module chancery.example/chain

go 1.22
