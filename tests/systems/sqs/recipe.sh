title="installing moto 5.2.5 (SQS)" took="half a minute"
check() { need_python; }
make_it() { python_venv; }
try_it() { "$new/venv/bin/python" -c 'import moto.server, moto.sqs; assert moto.__version__ == "5.2.5"'; }
