# Which version a package of SOURCE has, at the time of packing. Included by cpack (Package.cmake) and
# by the install step that writes the package's changelog, so that both say the same.
#   a tag v1.2.0          1.2.0
#   12 commits after it   1.2.0+12.gabc1234
#   no tag yet            0.1.0~345.gabc1234, which is before 0.1.0: every commit is an upgrade
#   changed files         …+dirty
# The revision names the release it was built on: libraries differ between releases, and a package
# fits one only.
function(txcoord_package_version source project_version)
  function(git out)
    execute_process(COMMAND git -C ${source} ${ARGN} OUTPUT_VARIABLE said RESULT_VARIABLE failed
      OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
    if(failed)
      set(said "")
    endif()
    set(${out} "${said}" PARENT_SCOPE)
  endfunction()

  git(describe describe --tags --long --abbrev=7 --match "v[0-9]*")
  git(commit rev-parse --short=7 HEAD)
  git(commits rev-list --count HEAD)
  git(changed status --porcelain --untracked-files=no)
  git(epoch log -1 --format=%ct)
  if(describe MATCHES "^v([0-9.]+)-([0-9]+)-(g[0-9a-f]+)$")
    set(upstream ${CMAKE_MATCH_1})
    if(NOT CMAKE_MATCH_2 EQUAL 0)
      string(APPEND upstream "+${CMAKE_MATCH_2}.${CMAKE_MATCH_3}")
    endif()
  elseif(commit)
    set(upstream "${project_version}~${commits}.g${commit}")
  else() # not a clone: a release's archive
    set(upstream ${project_version})
  endif()
  if(changed)
    string(APPEND upstream "+dirty")
  endif()

  set(release unknown)
  if(EXISTS /etc/os-release)
    file(READ /etc/os-release about)
    string(REGEX MATCH "(^|\n)ID=\"?([a-z]+)" id "${about}")
    set(release ${CMAKE_MATCH_2})
    string(REGEX MATCH "(^|\n)VERSION_ID=\"?([0-9.]+)" number "${about}")
    string(APPEND release ${CMAKE_MATCH_2})
  endif()
  if(NOT epoch)
    set(epoch 0)
  endif()
  set(TXCOORD_PACKAGE_UPSTREAM ${upstream} PARENT_SCOPE)
  set(TXCOORD_PACKAGE_REVISION "1~${release}" PARENT_SCOPE)
  set(TXCOORD_PACKAGE_EPOCH ${epoch} PARENT_SCOPE) # of the commit: packing again gives the same bytes
endfunction()
