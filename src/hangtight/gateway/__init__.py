"""One address in front of every model.

    a client -> door -> app -> asking -> exchange -> readings -> upstream -> a model server
    a client <- door <- outlet <-------- exchange <- readings <- upstream <- a model server

`asking` reads a request and says under which terms it goes on: as a call (`calls`) of the same kind as one of our
transports', so that it takes the same course. `exchange` is that request to its end; `readings` is one attempt of it,
with a slot and a permit of its model (`lanes`). Beside that way stand `looking`, which sees whether a server that was
cancelled has stopped, and `telling`, which says what goes on. What all of them share is in `state`.
"""
