# One request at a time, as a small site's one process takes them: SQLite refuses a write that began as a read while
# somebody else wrote, and Redmine makes a 500 of that.
require 'webrick'

ONE_AT_A_TIME = Mutex.new
WEBrick::HTTPServer.prepend(Module.new do
  def service(request, response) = ONE_AT_A_TIME.synchronize { super }
end)
